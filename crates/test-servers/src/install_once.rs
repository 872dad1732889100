//! Things that tests take from a package registry while they run.

use std::fs::{self, File};
use std::path::Path;

/// Runs `install` with the folder, unless that has succeeded before. Tests that come at the same
/// time, in one process or in many, wait for one another.
///
/// # Panics
///
/// If `install` does, which leaves it to the next one.
pub fn install_once(folder: &Path, install: impl FnOnce(&Path)) {
    fs::create_dir_all(folder).expect("a folder can be made");
    let lock = File::create(folder.join("lock")).expect("a file can be made");
    lock.lock().expect("a file can be locked");
    let complete = folder.join("complete");
    if !complete.exists() {
        install(folder);
        File::create(complete).expect("a file can be made");
    }
}
