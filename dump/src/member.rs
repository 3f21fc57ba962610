//! What a member of the archive is, by its name.

use crate::rules::RULES_INDEX;

/// The members that matter; everything else is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Member {
    Metadata,
    InstanceUid,
    Keys,
    Tasks,
    UpdateFile(u32),
    Features,
    Network,
    /// Dynamic search rules.
    Rules,
    Webhooks,
    Chat,
    Index {
        folder: String,
        file: IndexFile,
    },
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IndexFile {
    Metadata,
    Settings,
    Documents,
}

/// Takes a member's name apart; an error names what no dump has: a way out of the archive, a name that is not text.
pub(crate) fn classify(name: &[u8]) -> Result<Member, String> {
    let shown = || String::from_utf8_lossy(name).chars().take(80).collect();
    let text = std::str::from_utf8(name).map_err(|_| shown())?;
    if text.starts_with('/') || text.contains(['\\', '\0']) {
        return Err(shown());
    }
    let mut parts = Vec::with_capacity(4);
    for part in text.split('/') {
        match part {
            "" | "." => (),
            ".." => return Err(shown()),
            part => parts.push(part),
        }
    }
    Ok(match parts[..] {
        ["metadata.json"] => Member::Metadata,
        ["instance_uid.uuid"] => Member::InstanceUid,
        ["keys.jsonl"] => Member::Keys,
        ["tasks", "queue.jsonl"] => Member::Tasks,
        ["tasks", "update_files", file] => match file.strip_suffix(".jsonl").map(str::parse) {
            Some(Ok(task)) => Member::UpdateFile(task),
            _ => Member::Other,
        },
        ["experimental-features.json"] => Member::Features,
        ["network.json"] => Member::Network,
        ["webhooks.json"] => Member::Webhooks,
        // macOS puts files of its own beside each, which begin so.
        ["chat-completions-settings", file] if !file.starts_with("._") => Member::Chat,
        ["indexes", RULES_INDEX, "documents.jsonl"] => Member::Rules,
        ["indexes", RULES_INDEX, _] => Member::Other,
        ["indexes", folder, file] => match index_file(file) {
            Some(file) => Member::Index {
                folder: folder.to_owned(),
                file,
            },
            None => Member::Other,
        },
        _ => Member::Other,
    })
}

fn index_file(name: &str) -> Option<IndexFile> {
    Some(match name {
        "metadata.json" => IndexFile::Metadata,
        "settings.json" => IndexFile::Settings,
        "documents.jsonl" => IndexFile::Documents,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_for_what_they_are() {
        let of = |name: &str| classify(name.as_bytes());
        assert_eq!(of("./metadata.json"), Ok(Member::Metadata));
        assert_eq!(of("metadata.json"), Ok(Member::Metadata));
        assert_eq!(
            of("tasks/update_files/12.jsonl"),
            Ok(Member::UpdateFile(12))
        );
        assert_eq!(of("tasks/update_files/x.jsonl"), Ok(Member::Other));
        assert_eq!(of("indexes/._films"), Ok(Member::Other));
        assert_eq!(of("indexes/.meili_dsr/documents.jsonl"), Ok(Member::Rules));
        assert_eq!(of("indexes/.meili_dsr/settings.json"), Ok(Member::Other));
        assert_eq!(of("indexes/films/._settings.json"), Ok(Member::Other));
        assert_eq!(
            of("./indexes/films/documents.jsonl"),
            Ok(Member::Index {
                folder: "films".into(),
                file: IndexFile::Documents
            })
        );
        for hostile in [
            "/etc/passwd",
            "indexes/../../x",
            "..",
            "a\\..\\b",
            "metadata.json\0.txt",
        ] {
            assert!(of(hostile).is_err(), "{hostile}");
        }
        assert!(classify(b"indexes/\xff/documents.jsonl").is_err());
    }
}
