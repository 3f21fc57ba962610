/// Why nodes' answers could not be merged. The core answers 500 or retries elsewhere; a client never sees the text of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A node sent something that is not the answer to what it was asked; `node` is its place in the list of answers.
    #[error("answer {node} is not usable: {reason}")]
    BadAnswer { node: usize, reason: String },
    /// A hit was ranked by a field that its node may not show (`<hidden-rule-N>`, MEILISEARCH C.6), so its place is unknown.
    /// The federated protocol gives such values.
    #[error("answer {node} hides the value of the ranking rule {rule}")]
    HiddenRule { node: usize, rule: String },
    /// Documents came without the values that they are sorted by: their node is too old for it.
    #[error("answer {node} does not say by which values its documents are sorted")]
    Unsorted { node: usize },
}

impl MergeError {
    pub(crate) fn bad(node: usize, reason: impl Into<String>) -> Self {
        MergeError::BadAnswer {
            node,
            reason: reason.into(),
        }
    }
}
