//! The node by itself: `cargo run --release -p miroir-node --example node -- node --db-path DIR`.

/// A program with one command.
#[derive(argh::FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: miroir_node::Options,
}

fn main() {
    let arguments: Arguments = argh::from_env();
    if let Err(error) = miroir_node::run(arguments.command) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
