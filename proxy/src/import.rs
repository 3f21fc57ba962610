//! `miroir serve --import-dump`: the dump goes in before clients are let in.
//!
//! The import speaks HTTP, so a core listens for it at an address that nobody else knows, until it is done.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use miroir_import::{AtStart, Options, Server, Trouble};

use crate::config::Config;
use crate::serve::{interrupted, ServeError};

/// How long the importer's own connections may take to end.
pub const DRAIN: Duration = Duration::from_secs(2);

/// Imports through a core that listens at `address`.
pub fn run(dump: &AtStart, config: &Config, address: SocketAddr) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Signals)?;
    let imported = runtime.block_on(async {
        let server = Server::new(&format!("http://{address}"), config.master_key.clone())?;
        tokio::select! {
            imported = dump.run(&server, Options::within(config.server.body_bytes_max)) => imported,
            stop = interrupted() => Err(match stop {
                Ok(()) => Trouble::new("importing", "it was interrupted"),
                Err(error) => Trouble::new("importing", error.to_string()),
            }),
        }
    });
    imported.map_err(|trouble| {
        ServeError::Import(match trouble.is_not_empty() {
            true => format!(
                "{trouble}. With --ignore-dump-if-db-exists it is started without the import"
            ),
            false => trouble.with_advice(),
        })
    })
}

/// An address on this machine that is free just now.
pub fn private_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
