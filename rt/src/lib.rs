//! One pinned core, one reactor: start, mailboxes, supervision, shutdown, driver probe.
