//! A Python environment of the bench, with the libraries that it compares with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture;

/// The interpreter of an environment with these requirements, made if it does not exist yet; `None` if
/// it cannot be made.
pub fn with(requirements: &Path) -> Option<PathBuf> {
    let folder = fixture::root().join("libraries-venv");
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    let wanted = std::fs::read(requirements).unwrap();
    if std::fs::read(&ready).ok().as_ref() != Some(&wanted) {
        eprintln!("installing the libraries: a minute or two");
        succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]);
        succeeds(pip.arg("-r").arg(requirements))?;
        std::fs::write(ready, wanted).unwrap();
    }
    Some(python)
}

fn succeeds(command: &mut Command) -> Option<()> {
    command.status().ok().filter(std::process::ExitStatus::success).map(drop)
}
