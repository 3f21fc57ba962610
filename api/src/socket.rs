/// The path in an address `unix:/path/of/socket` of a node on the same machine; `None` for any other address.
pub fn unix_socket(address: &str) -> Option<&str> {
    address.strip_prefix("unix:")
}

/// Why the kernel would not take the path of a Unix-domain socket; continues "its address ".
pub fn check_unix_socket(path: &str) -> Result<(), &'static str> {
    /// `sockaddr_un` has 108 bytes, the last of them 0.
    const PATH_BYTES_MAX: usize = 107;
    if !path.starts_with('/') {
        return Err("must name its socket from the root, as unix:/run/meilisearch.sock");
    }
    if path.len() > PATH_BYTES_MAX || path.contains('\0') {
        return Err("names a socket with more than 107 bytes, which the kernel does not take");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_from_hosts() {
        assert_eq!(unix_socket("unix:/run/a.sock"), Some("/run/a.sock"));
        assert_eq!(unix_socket("unix:7700"), Some("7700"));
        assert_eq!(unix_socket("http://unix:7700"), None);
        assert!(check_unix_socket("/run/a.sock").is_ok());
        let long = format!("/{}", "x".repeat(107));
        for path in ["", "7700", "run/a", &long, "/a\0b"] {
            assert!(check_unix_socket(path).is_err(), "{path}");
        }
    }
}
