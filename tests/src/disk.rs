//! A node's disk that has no room left.
//!
//! The node's data lies on a small file system of its own, which is then filled up: the real thing, for which mounting must be allowed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fleet::Node;

/// Room for a small index, its task queue, and what the engine makes while it works.
const SIZE: &str = "size=64m";

/// Under the data of one node; unmounted when dropped.
pub struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// A small disk for this node, which must not run and loses what it has. None: nothing may be mounted here.
    pub fn under(node: &Node) -> Option<Disk> {
        let mounted = node.data();
        let _ = std::fs::remove_dir_all(&mounted);
        std::fs::create_dir_all(&mounted).expect("a folder for the node's data");
        mount(&mounted).then_some(Disk { mounted })
    }

    /// From now on there is no room.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file on the disk");
        let piece = vec![b'x'; 4096];
        while ballast.write_all(&piece).is_ok() {}
    }

    /// There is room again.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the node may still run.
        let _ = quiet(Command::new("umount").arg("-l").arg(&self.mounted));
    }
}

fn mount(at: &Path) -> bool {
    let mut mount = Command::new("mount");
    quiet(mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(at))
}

/// Whether it could be run and succeeded.
fn quiet(command: &mut Command) -> bool {
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}
