//! What strangers leave, name and say: it is neither obeyed nor served, and acts on nothing.

use std::os::unix::fs::{PermissionsExt, chown};

use crate::support::{World, not_run, run};

/// No user of the system.
const STRANGER: u32 = 65534;

#[test]
fn a_settings_file_of_a_stranger_is_refused_before_its_command_runs() {
    let world = World::with_people(1);
    let settings = "[[announce]]\ncommand = [\"touch\", \"owned\"]\n";
    let change = |mode, owner| {
        std::fs::set_permissions(world.path("reindexd.toml"), PermissionsExt::from_mode(mode)).unwrap();
        chown(world.path("reindexd.toml"), owner, owner).unwrap();
    };
    world.settings(settings);
    change(0o646, None);

    let open = world.run(&["build"]);
    let named = world.run(&["build", "--config", "reindexd.toml"]);

    for ran in [open, named] {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("reindexd.toml may be written by every user"), "{ran:?}");
    }
    if rustix::process::geteuid().is_root() {
        change(0o644, Some(STRANGER));
        let found = world.run(&["build"]);
        assert_eq!(found.code, 2, "{found:?}");
        assert!(found.stderr.contains("belongs to user 65534, expected root or the caller"), "{found:?}");
        assert_eq!(world.provider.requests().len(), 0);
        assert!(!world.path("owned").exists());

        let named = world.run(&["build", "--config", "reindexd.toml"]);
        assert_eq!(named.code, 0, "an operator may name another user's file: {named:?}");
    } else {
        not_run("only root can give a file to another user");
    }
}

#[test]
fn a_dotenv_a_key_and_a_link_of_strangers_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return not_run("only root can give a file to another user");
    }
    let world = World::with_people(1);
    let write = |name: &str, text: &str, mode| {
        std::fs::write(world.path(name), text).unwrap();
        std::fs::set_permissions(world.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    write(".env", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9\n", 0o644);
    chown(world.path(".env"), Some(STRANGER), None).unwrap();
    let dotenv = world.run(&["plan"]);
    std::fs::remove_file(world.path(".env")).unwrap();

    write("elsewhere.toml", "", 0o644);
    std::os::unix::fs::symlink("elsewhere.toml", world.path("reindexd.toml")).unwrap();
    std::os::unix::fs::lchown(world.path("reindexd.toml"), Some(STRANGER), None).unwrap();
    let link = world.run(&["plan"]);
    std::fs::remove_file(world.path("reindexd.toml")).unwrap();

    write("key", "a-key\n", 0o660);
    chown(world.path("key"), None, Some(STRANGER)).unwrap();
    world.settings("[embedding]\napi_key_file = \"key\"\n");
    let key = world.run(&["build"]);

    for (ran, expected) in [
        (dotenv, ".env file .env belongs to user 65534"),
        (link, "settings file reindexd.toml belongs to user 65534"),
        (key, "key file key may be written by group 65534"),
    ] {
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(expected), "{ran:?}");
    }
    assert_eq!(world.provider.requests().len(), 0);
}
