//! A node's disk that has no room left.
//!
//! Where mounting is allowed (root), the node's data lies on a small file system of its own, which is then filled up: the real thing.
//! Elsewhere the kernel refuses to let the node's files grow (`RLIMIT_FSIZE`), which any user may ask of it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fleet::Node;

/// Room for a small index, its task queue, and what the engine makes while it works.
const SIZE: &str = "size=64m";

/// Under the data of one node; unmounted when dropped.
pub struct Disk {
    /// Where it is mounted. None: the node's files are limited instead.
    mounted: Option<PathBuf>,
}

impl Disk {
    /// A small disk for this node, which must not run and loses what it has.
    pub fn under(node: &Node) -> Disk {
        let data = node.data();
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).expect("a folder for the node's data");
        let mounted = mount(&data).then_some(data);
        if mounted.is_none() {
            println!("no file system can be mounted here: the node's files are limited instead");
        }
        Disk { mounted }
    }

    /// From now on there is no room.
    pub fn fill(&self, node: &Node) {
        let Some(data) = &self.mounted else {
            return node.limit_files(Some(0));
        };
        let mut ballast = File::create(data.join("ballast")).expect("a file on the disk");
        let piece = vec![b'x'; 4096];
        while ballast.write_all(&piece).is_ok() {}
    }

    /// There is room again.
    pub fn free(&self, node: &Node) {
        match &self.mounted {
            Some(data) => std::fs::remove_file(data.join("ballast")).expect("it was filled"),
            None => node.limit_files(None),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(data) = &self.mounted {
            // Lazily: the node may still run.
            let _ = quiet(Command::new("umount").arg("-l").arg(data));
        }
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
