//! The units that are shipped.

/// The lines that say something.
fn directives(unit: &str) -> Vec<&str> {
    unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn the_unit_for_several_tables_differs_by_its_instance_alone() {
    let (one, many) =
        (include_str!("../../systemd/reindexd.service"), include_str!("../../systemd/reindexd@.service"));
    let by_instance = [
        ("the experts index", "the index of %i"),
        ("/etc/reindexd/reindexd.toml", "/etc/reindexd/%i.toml"),
        ("/etc/reindexd/embedding-api-key", "/etc/reindexd/embedding-api-key-%i"),
        ("StateDirectory=reindexd\n", "StateDirectory=reindexd-%i\n"),
        ("WorkingDirectory=/var/lib/reindexd\n", "WorkingDirectory=/var/lib/reindexd-%i\n"),
    ];
    let mut expected = one.to_owned();
    for (whole, instance) in by_instance {
        assert!(expected.contains(whole), "{whole}");
        expected = expected.replace(whole, instance);
    }
    assert_eq!(directives(many), directives(&expected));
}
