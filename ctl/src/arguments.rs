//! What may be written on the command line. Help and completions come from here.

use argh::{ArgsInfo, FromArgs};

use crate::import::Import;

/// Look at a Miroir cluster and change it: nodes, layout, copies and tasks.
#[derive(FromArgs, ArgsInfo)]
pub struct Arguments {
    /// where Miroir listens (default: MIROIR_URL, else http://127.0.0.1:7700)
    #[argh(option)]
    pub url: Option<String>,
    /// the admin key (default: MIROIR_ADMIN_KEY, else MIROIR_MASTER_KEY); prefer the variable, arguments are visible
    #[argh(option)]
    pub key: Option<String>,
    /// print JSON for programs instead of tables
    #[argh(switch)]
    pub json: bool,
    #[argh(subcommand)]
    pub command: Command,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum Command {
    Status(Status),
    Nodes(Nodes),
    Layout(Layout),
    Shards(Shards),
    Rebalance(Rebalance),
    Tasks(Tasks),
    Verify(Verify),
    Repair(Repair),
    Import(Import),
    Config(Config),
    Completions(Completions),
}

/// Nodes, shards, copies that do not serve; exit code 1 when something is wrong.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
pub struct Status {}

/// List the nodes; add, drain, remove, replace or trust one.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "nodes")]
pub struct Nodes {
    #[argh(subcommand)]
    pub command: NodesCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum NodesCommand {
    List(NodesList),
    Add(NodesAdd),
    Drain(NodesDrain),
    Remove(NodesRemove),
    Replace(NodesReplace),
    Trust(NodesTrust),
}

/// Every node, and how many copies of shards it has.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
pub struct NodesList {}

/// Add an empty node; its share of the shards moves to it.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "add")]
pub struct NodesAdd {
    /// the node's id, for ever
    #[argh(positional)]
    pub id: String,
    /// http://host:port, or unix:/path on Miroir's machine
    #[argh(positional)]
    pub address: String,
    /// the replica group (default 0)
    #[argh(option, default = "0")]
    pub group: u16,
    /// its share, relative to the other nodes of its group (default 1)
    #[argh(option, default = "1")]
    pub weight: u32,
    /// what fails together with it, such as a rack
    #[argh(option)]
    pub zone: Option<String>,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// only show what would move
    #[argh(switch)]
    pub dry_run: bool,
}

/// Move everything away from a node; it stays in the cluster, empty.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "drain")]
pub struct NodesDrain {
    /// the node's id
    #[argh(positional)]
    pub id: String,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// only show what would move
    #[argh(switch)]
    pub dry_run: bool,
}

/// Take an empty node out of the cluster; with --force any node, and what only it has is lost.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "remove")]
pub struct NodesRemove {
    /// the node's id
    #[argh(positional)]
    pub id: String,
    /// although it still has copies of shards, or does not answer any more
    #[argh(switch)]
    pub force: bool,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// only show what would move, and what would be lost
    #[argh(switch)]
    pub dry_run: bool,
}

/// Put another, empty node in the place of a node; the old one stays, empty, to be removed afterwards.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "replace")]
pub struct NodesReplace {
    /// the node to replace
    #[argh(positional)]
    pub id: String,
    /// the id of the new one
    #[argh(positional)]
    pub by: String,
    /// http://host:port, or unix:/path on Miroir's machine, of the new one
    #[argh(positional)]
    pub address: String,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// only show what would move
    #[argh(switch)]
    pub dry_run: bool,
}

/// Give up lost shards: where no copy serves any more, what this node has counts from now on, even nothing.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "trust")]
pub struct NodesTrust {
    /// the node's id
    #[argh(positional)]
    pub id: String,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// only show which shards would be given up
    #[argh(switch)]
    pub dry_run: bool,
}

/// The layout as a plan: stage changes, look at what they move, apply them as one version.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "layout")]
pub struct Layout {
    #[argh(subcommand)]
    pub command: LayoutCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum LayoutCommand {
    Show(LayoutShow),
    Stage(LayoutStage),
    Diff(LayoutDiff),
    Apply(LayoutApply),
    Revert(LayoutRevert),
    History(LayoutHistory),
}

/// The layout that a new index gets.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "show")]
pub struct LayoutShow {}

/// Stage changes; nothing moves before `layout apply`. Options may be given several times.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "stage")]
pub struct LayoutStage {
    /// add a node: ID=http://host:port, and if need be ,group=N ,weight=N ,zone=Z
    #[argh(option)]
    pub add: Vec<String>,
    /// move everything away from this node
    #[argh(option)]
    pub drain: Vec<String>,
    /// take out this node, which must be empty
    #[argh(option)]
    pub remove: Vec<String>,
    /// replace a node: OLD=NEW=http://host:port
    #[argh(option)]
    pub replace: Vec<String>,
    /// the same node with the same data is at another address: ID=http://host:port
    #[argh(option)]
    pub address: Vec<String>,
    /// a node's share: ID=N
    #[argh(option)]
    pub weight: Vec<String>,
    /// a node's zone: ID=Z, or ID= for none
    #[argh(option)]
    pub zone: Vec<String>,
    /// copies of each shard in each group
    #[argh(option)]
    pub replication_factor: Option<u8>,
    /// groups that each hold everything
    #[argh(option)]
    pub groups: Option<u16>,
}

/// What the staged changes would move: shards, documents, bytes.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "diff")]
pub struct LayoutDiff {}

/// Apply what is staged.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "apply")]
pub struct LayoutApply {
    /// the version that `layout diff` named, so that nothing else is applied than you have seen
    #[argh(option)]
    pub version: u64,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
    /// only show what would move
    #[argh(switch)]
    pub dry_run: bool,
}

/// Drop what is staged.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "revert")]
pub struct LayoutRevert {}

/// Every version so far, and what led to it.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "history")]
pub struct LayoutHistory {}

/// Where shards and documents are.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "shards")]
pub struct Shards {
    #[argh(subcommand)]
    pub command: ShardsCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum ShardsCommand {
    List(ShardsList),
    Where(ShardsWhere),
}

/// Every shard with its copies.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
pub struct ShardsList {
    /// of this index (default: what a new index gets)
    #[argh(option)]
    pub index: Option<String>,
}

/// The shard of a document, and the nodes that have it.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "where")]
pub struct ShardsWhere {
    /// the document's id
    #[argh(positional)]
    pub id: String,
    /// its index
    #[argh(option)]
    pub index: String,
}

/// Data on the move: look at it, hold it up, slow it down.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "rebalance")]
pub struct Rebalance {
    #[argh(subcommand)]
    pub command: RebalanceCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum RebalanceCommand {
    Status(RebalanceStatus),
    Pause(RebalancePause),
    Resume(RebalanceResume),
    Throttle(RebalanceThrottle),
}

/// What moves, waits and failed; exit code 1 when something failed.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status")]
pub struct RebalanceStatus {
    /// go on until nothing moves any more
    #[argh(switch)]
    pub watch: bool,
}

/// Begin no new movement, and hold up what runs.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "pause")]
pub struct RebalancePause {}

/// Go on.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "resume")]
pub struct RebalanceResume {}

/// Move at most so many documents a second; `off` for as many as the nodes can take.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "throttle")]
pub struct RebalanceThrottle {
    /// documents a second, or `off`
    #[argh(positional)]
    pub rate: String,
}

/// List, show or wait for tasks.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "tasks")]
pub struct Tasks {
    #[argh(subcommand)]
    pub command: TasksCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum TasksCommand {
    List(TasksList),
    Get(TasksGet),
    Wait(TasksWait),
}

/// The newest tasks first.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list")]
pub struct TasksList {
    /// how many (default 20)
    #[argh(option, default = "20")]
    pub limit: u32,
    /// only these statuses, separated by commas: enqueued, processing, succeeded, failed, canceled
    #[argh(option)]
    pub status: Option<String>,
    /// only tasks of this index
    #[argh(option)]
    pub index: Option<String>,
}

/// One task, whole.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "get")]
pub struct TasksGet {
    /// the task's uid
    #[argh(positional)]
    pub uid: u32,
}

/// Wait until a task has ended; exit code 1 when it failed.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "wait")]
pub struct TasksWait {
    /// the task's uid
    #[argh(positional)]
    pub uid: u32,
    /// give up after so many seconds (default 300), with exit code 2
    #[argh(option, default = "300")]
    pub timeout: u64,
}

/// Compare all copies with each other; exit code 1 when some differ (they are repaired then).
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "verify")]
pub struct Verify {
    /// only of this index
    #[argh(option)]
    pub index: Option<String>,
}

/// Compare all copies, and try at once again what failed to be repaired.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "repair")]
pub struct Repair {
    /// only of this index
    #[argh(option)]
    pub index: Option<String>,
}

/// Configuration files.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "config")]
pub struct Config {
    #[argh(subcommand)]
    pub command: ConfigCommand,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum ConfigCommand {
    Check(ConfigCheck),
}

/// Check a configuration file as `miroir serve` would read it; needs the program `miroir` beside this one.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "check")]
pub struct ConfigCheck {
    /// the file
    #[argh(positional)]
    pub file: String,
}

/// Print completions for a shell.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "completions")]
pub struct Completions {
    /// bash, zsh or fish
    #[argh(positional)]
    pub shell: String,
}
