//! Deletes what is left over on a node: documents of shards of which it holds no copy any more.

use std::sync::Arc;

use miroir_movement::Transition;
use miroir_router::{NodeIdx, Shard};

use super::node::Side;
use crate::plane::Plane;

/// See [`miroir_movement::Work::Delete`]. Errors are for people.
pub(super) async fn run(
    plane: &Arc<Plane>,
    node_uid: &str,
    node: NodeIdx,
    shards: &[Shard],
) -> Result<(), String> {
    // Searches that began earlier may still ask the copies.
    plane.quiesced().await;
    // A copy that was leaving and missed a write is left over before that is on disk: what was asked of the store earlier
    // is done when this is. Else it would serve after a crash, and be empty.
    let stored = plane.store.put_copies(Vec::new()).await;
    stored.map_err(|error| error.to_string())?;
    let client = plane.node(node).ok_or("the node is gone")?;
    let side = Side {
        client: &client,
        index: node_uid,
        primary_key: None,
        shards: 0,
    };
    if let Some(task) = side.delete_shards(shards).await? {
        side.applied(None).await?;
        side.succeeded(&[task]).await?;
    }
    plane
        .transit(node_uid, |layout| {
            Ok(Transition::deleted(layout, node, shards))
        })
        .await?;
    tracing::info!(
        index = node_uid,
        node = client.id(),
        shards = shards.len(),
        "left-over copies are deleted"
    );
    Ok(())
}
