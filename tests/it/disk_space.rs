//! Too little disk space, on a real file system of a few megabytes.
//!
//! It is mounted in a mount namespace of the child's own. Root may always make
//! one, other users on most systems. Where it is not allowed, a line on
//! standard error says that the test did not run.

use crate::support::{Ran, World, run};

/// Builds into a file system of this size at `out`; `None` where the system does not let us mount one.
fn in_a_file_system_of(megabytes: u32, world: &World, script: &str) -> Option<Ran> {
    std::fs::create_dir_all(world.path("out")).unwrap();
    let mount = format!("mount -t tmpfs -o size={megabytes}m,mode=700 tmpfs out");
    let isolated = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        let reindexd = world.command(&[]);
        command.args([
            "--map-root-user",
            "--mount",
            "sh",
            "-euc",
            script,
            "sh",
            env!("CARGO_BIN_EXE_reindexd"),
        ]);
        command.env_clear().envs(reindexd.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(world.path(""));
        command.env("FAISS_INDEX_PATH", "out/faiss.index").env("METADATA_PATH", "out/metadata.json");
        command.env("OUTPUT_DIM", "3072");
        command
    };
    let probe = isolated(&mount).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        eprintln!("NOT RUN: a small file system cannot be mounted here: {probe:?}");
        return None;
    }
    Some(run(&mut isolated(&format!("{mount}\n{script}"))))
}

#[test]
fn a_build_that_would_not_fit_is_refused_before_anything_is_embedded() {
    let world = World::with_people(100);
    let build = "exec \"$1\" build --json";

    let Some(refused) = in_a_file_system_of(5, &world, build) else { return };

    assert_eq!((refused.code, refused.text("outcome").as_str()), (1, "failed"), "{refused:?}");
    let error = refused.text("error");
    assert!(error.contains("not enough disk space") && error.contains("nothing was embedded"), "{error}");
    assert_eq!(world.provider.request_count(), 0);

    let fits = in_a_file_system_of(20, &world, build).unwrap();
    assert_eq!((fits.code, fits.number("embedded")), (0, 100), "{fits:?}");
}

#[test]
fn where_space_is_short_the_grace_ends_early_but_the_build_before_stays() {
    let world = World::with_people(250);
    // Each build takes three megabytes, and making one wants seven: the fourth would not fit beside three.
    let four = "for nth in 1 2 3 4; do \"$1\" build --full; done >&2; ls out/builds; \"$1\" rollback >&2";

    let Some(built) = in_a_file_system_of(16, &world, four) else { return };

    assert_eq!(built.code, 0, "{built:?}");
    assert_eq!(built.stdout.lines().count(), 3, "the first is removed before its grace ends: {built:?}");
    assert_eq!(world.provider.text_count(), 250, "no text was embedded twice");
}
