//! What an operator may change about the fleet, and what the fleet is to look like afterwards. Pure.

use miroir_api::Error;
use miroir_router::{Layout, LayoutNode, LayoutSpec, NodeIdx};
use serde::{Deserialize, Serialize};

use crate::store::NodeRow;

/// One change; several are staged and then applied as one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Change {
    /// A node comes. `address` is `http://host:port`.
    #[serde(rename_all = "camelCase")]
    AddNode {
        id: String,
        address: String,
        #[serde(default)]
        group: u16,
        #[serde(default = "one")]
        weight: u32,
        #[serde(default)]
        zone: Option<String>,
    },
    /// A node gives up its copies and stays, empty.
    DrainNode {
        id: String,
    },
    /// A node goes: an empty one, or with `force` one that still has copies, which are lost.
    RemoveNode {
        id: String,
        #[serde(default)]
        force: bool,
    },
    /// Another node, `by`, takes the place of a node, which gives up its copies and stays, empty.
    ReplaceNode {
        id: String,
        by: String,
        address: String,
    },
    /// The same node, with the same data, is reached elsewhere.
    MoveNode {
        id: String,
        address: String,
    },
    /// Of shards that no copy serves, what this node has counts from now on, whatever it missed: the rest is given up.
    TrustNode {
        id: String,
    },
    SetWeight {
        id: String,
        weight: u32,
    },
    SetZone {
        id: String,
        zone: Option<String>,
    },
    SetReplicationFactor {
        value: u8,
    },
    SetReplicaGroups {
        value: u16,
    },
}

fn one() -> u32 {
    1
}

/// What the fleet is to look like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub spec: LayoutSpec,
    /// Every node by position, tombstones too.
    pub rows: Vec<NodeRow>,
    /// Nodes that must be looked at before they are let in.
    pub added: Vec<NodeIdx>,
    /// Nodes that keep their place and get another address.
    pub moved: Vec<NodeIdx>,
    pub removed: Vec<Removal>,
    /// Nodes whose copies count where nothing better is left.
    pub trusted: Vec<NodeIdx>,
}

/// A node that goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Removal {
    pub node: NodeIdx,
    /// Whether the copies that it still has may be lost.
    pub force: bool,
}

impl Target {
    /// What the fleet looks like with `changes`, from what it is: `layout` with the nodes of `rows`, by position.
    ///
    /// # Errors
    /// A change that cannot be made, with what to do instead.
    pub(crate) fn new(
        layout: &Layout,
        rows: &[NodeRow],
        changes: &[Change],
    ) -> Result<Target, Error> {
        let mut target = Target {
            spec: LayoutSpec {
                shards: layout.shards,
                replication_factor: layout.replication_factor,
                replica_groups: layout.replica_groups,
                nodes: layout.nodes.clone(),
            },
            rows: rows.to_vec(),
            added: Vec::new(),
            moved: Vec::new(),
            removed: Vec::new(),
            trusted: Vec::new(),
        };
        if rows.len() != layout.nodes.len() {
            return Err(Error::internal(
                "the last change of the layout could not be stored; start miroir again",
            ));
        }
        changes.iter().try_for_each(|change| target.make(change))?;
        Ok(target)
    }

    fn make(&mut self, change: &Change) -> Result<(), Error> {
        match change {
            Change::AddNode {
                id,
                address,
                group,
                weight,
                zone,
            } => {
                let node = LayoutNode {
                    id: id.clone(),
                    group: *group,
                    weight: *weight,
                    zone: given(zone),
                };
                self.add(node, address)?;
            }
            Change::DrainNode { id } => self.planned(id)?.weight = 0,
            Change::RemoveNode { id, force } => {
                let position = self.member(id)?;
                self.spec.nodes[position].weight = 0;
                self.rows[position].removed = true;
                let node = NodeIdx(self.rows[position].position);
                self.removed.push(Removal {
                    node,
                    force: *force,
                });
            }
            Change::ReplaceNode { id, by, address } => {
                let old = self.planned(id)?;
                let node = LayoutNode {
                    id: by.clone(),
                    weight: old.weight.max(1),
                    ..old.clone()
                };
                old.weight = 0;
                self.add(node, address)?;
            }
            Change::MoveNode { id, address } => {
                let address = self.free_address(id, address)?;
                let position = self.member(id)?;
                self.rows[position].address = address;
                self.moved.push(NodeIdx(self.rows[position].position));
            }
            Change::TrustNode { id } => {
                let position = self.member(id)?;
                self.trusted.push(NodeIdx(self.rows[position].position));
            }
            Change::SetWeight { id, weight } => self.planned(id)?.weight = *weight,
            Change::SetZone { id, zone } => self.planned(id)?.zone = given(zone),
            Change::SetReplicationFactor { value } => self.spec.replication_factor = *value,
            Change::SetReplicaGroups { value } => self.spec.replica_groups = *value,
        }
        Ok(())
    }

    /// A new node comes last; one that was here before gets its old place, because its position means it for ever.
    fn add(&mut self, node: LayoutNode, address: &str) -> Result<(), Error> {
        if self.member(&node.id).is_ok() {
            let id = &node.id;
            return Err(refused(format!(
                "Node `{id}` belongs to the cluster already. Choose another id, or use `replace` to put another machine \
                 in its place."
            )));
        }
        if !is_id(&node.id) {
            return Err(refused(format!(
                "`{}` cannot be a node's id: use letters, digits, `-`, `_` and `.`, at most 64 of them.",
                node.id
            )));
        }
        let address = self.free_address(&node.id, address)?;
        let position = self.rows.iter().position(|row| row.id == node.id);
        let position = position.unwrap_or(self.rows.len());
        let idx =
            u16::try_from(position).map_err(|_| refused("There are too many nodes.".to_owned()))?;
        let row = NodeRow {
            position: idx,
            id: node.id.clone(),
            address,
            configured: None,
            removed: false,
        };
        if position == self.rows.len() {
            self.rows.push(row);
            self.spec.nodes.push(node);
        } else {
            self.rows[position] = row;
            self.spec.nodes[position] = node;
        }
        self.added.push(NodeIdx(idx));
        Ok(())
    }

    /// `address` without a slash at its end, if no other node is there.
    fn free_address(&self, id: &str, address: &str) -> Result<String, Error> {
        crate::bootstrap::routing_node(id, address, 0)
            .map_err(|error| refused(format!("{error}.")))?;
        let address = address.trim_end_matches('/');
        let taken = self.rows.iter().find(|row| {
            !row.removed && row.id != id && row.address.trim_end_matches('/') == address
        });
        match taken {
            Some(row) => Err(refused(format!(
                "Node `{}` is at {address} already. Give each node an address of its own.",
                row.id
            ))),
            None => Ok(address.to_owned()),
        }
    }

    fn member(&self, id: &str) -> Result<usize, Error> {
        let position = self
            .rows
            .iter()
            .position(|row| row.id == id && !row.removed);
        position.ok_or_else(|| {
            let members: Vec<&str> = self
                .rows
                .iter()
                .filter(|row| !row.removed)
                .map(|row| row.id.as_str())
                .collect();
            let message = format!("There is no node `{id}`; there are {}.", members.join(", "));
            Error::invalid(404, "miroir_node_not_found", message)
        })
    }

    fn planned(&mut self, id: &str) -> Result<&mut LayoutNode, Error> {
        let position = self.member(id)?;
        Ok(&mut self.spec.nodes[position])
    }
}

/// A layout that cannot be, in words that say what to do.
pub(crate) fn refused(message: String) -> Error {
    Error::invalid(400, "miroir_bad_layout", message)
}

fn given(zone: &Option<String>) -> Option<String> {
    zone.clone().filter(|zone| !zone.is_empty())
}

fn is_id(id: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= 64 && id.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fleet(ids: &[&str]) -> (Layout, Vec<NodeRow>) {
        let node = |id: &&str| LayoutNode {
            id: (*id).to_owned(),
            group: 0,
            weight: 2,
            zone: None,
        };
        let spec = LayoutSpec {
            shards: 8,
            replication_factor: 1,
            replica_groups: 1,
            nodes: ids.iter().map(node).collect(),
        };
        let row = |(position, id): (usize, &&str)| NodeRow {
            position: position as u16,
            id: (*id).to_owned(),
            address: format!("http://{id}:7700"),
            configured: None,
            removed: false,
        };
        (
            Layout::plan(&spec, None).unwrap(),
            ids.iter().enumerate().map(row).collect(),
        )
    }

    fn changes(list: serde_json::Value) -> Vec<Change> {
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn changes_add_up() {
        let (layout, rows) = fleet(&["a", "b"]);
        let list = changes(json!([
            { "change": "addNode", "id": "c", "address": "http://c:7700/", "zone": "z" },
            { "change": "replaceNode", "id": "a", "by": "d", "address": "http://d:7700" },
            { "change": "removeNode", "id": "b", "force": true },
            { "change": "setReplicationFactor", "value": 2 },
        ]));
        let target = Target::new(&layout, &rows, &list).unwrap();
        let weights: Vec<(&str, u32)> = target
            .spec
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), node.weight))
            .collect();
        assert_eq!(weights, [("a", 0), ("b", 0), ("c", 1), ("d", 2)]);
        assert_eq!(target.added, [NodeIdx(2), NodeIdx(3)]);
        assert_eq!(
            target.removed,
            [Removal {
                node: NodeIdx(1),
                force: true
            }]
        );
        assert_eq!(target.rows[2].address, "http://c:7700");
        assert_eq!(target.spec.replication_factor, 2);
    }

    #[test]
    fn a_node_that_comes_back_has_its_old_position() {
        let (layout, mut rows) = fleet(&["a", "b", "c"]);
        rows[1].removed = true;
        let back = changes(
            json!([{ "change": "addNode", "id": "b", "address": "http://b2:7700", "group": 0 }]),
        );
        let target = Target::new(&layout, &rows, &back).unwrap();
        assert_eq!((target.rows.len(), target.added), (3, vec![NodeIdx(1)]));
        assert!(!target.rows[1].removed);
    }

    #[test]
    fn what_cannot_be_says_what_to_do() {
        let (layout, rows) = fleet(&["a", "b"]);
        for (change, word) in [
            (
                json!({ "change": "addNode", "id": "a", "address": "http://x:1" }),
                "already",
            ),
            (
                json!({ "change": "addNode", "id": "c d", "address": "http://x:1" }),
                "letters",
            ),
            (
                json!({ "change": "addNode", "id": "c", "address": "http://a:7700" }),
                "`a` is at",
            ),
            (
                json!({ "change": "addNode", "id": "c", "address": "https://c:7700" }),
                "TLS",
            ),
            (
                json!({ "change": "drainNode", "id": "x" }),
                "there are a, b",
            ),
        ] {
            let error = Target::new(&layout, &rows, &changes(json!([change]))).unwrap_err();
            assert!(error.message.contains(word), "{}", error.message);
        }
        assert!(serde_json::from_value::<Change>(
            json!({ "change": "drainNode", "id": "a", "forse": 1 })
        )
        .is_err());
    }
}
