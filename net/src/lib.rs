//! Strict HTTP/1.1 on rt: server, client, pools of connections to nodes.
