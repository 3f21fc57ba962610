//! Templates of documents (Liquid), for embedders and for `POST /render-template`.
//!
//! A template that goes through all fields of a document would show the field in which Miroir keeps the document's shard,
//! and embedders would be sent it. So the loop over `fields` passes that one over, by a text that is put behind the
//! loop's head on the way to nodes, and taken out where clients see the template again.

use crate::SHARD_FIELD;

/// What Meilisearch renders where an embedder has no template of its own (`crates/milli/src/prompt/mod.rs`).
pub const DEFAULT_TEMPLATE: &str =
    "{% for field in fields %}{% if field.is_searchable and field.value != nil %}\
     {{ field.name }}: {{ field.value }}\n{% endif %}{% endfor %}";

/// The template as nodes get it.
pub fn template_for_nodes(template: &str) -> String {
    let mut sent = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((head, name, dash)) = next_loop(rest) {
        sent.push_str(&rest[..head]);
        rest = &rest[head..];
        let passed = passed_over(&name, dash);
        if !rest.starts_with(&passed) {
            sent.push_str(&passed);
        }
    }
    sent.push_str(rest);
    sent
}

/// The template as its client wrote it.
pub fn template_as_written(template: &str) -> String {
    let mut written = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((head, name, dash)) = next_loop(rest) {
        written.push_str(&rest[..head]);
        rest = &rest[head..];
        rest = rest.strip_prefix(&passed_over(&name, dash)).unwrap_or(rest);
    }
    written.push_str(rest);
    written
}

/// Whether it is one that was changed on its way to nodes.
pub fn template_is_changed(template: &str) -> bool {
    template.contains(SHARD_FIELD)
}

fn passed_over(name: &str, dash: bool) -> String {
    let end = if dash { "-%}" } else { "%}" };
    format!("{{% if {name}.name == \"{SHARD_FIELD}\" %}}{{% continue %}}{{% endif {end}")
}

/// Behind the head of the next loop over all fields; what it calls a field; whether the head takes away the space behind it.
fn next_loop(template: &str) -> Option<(usize, String, bool)> {
    let mut at = 0;
    loop {
        let begin = at + template[at..].find("{%")?;
        let end = begin + template[begin..].find("%}")?;
        let tag = &template[begin + 2..end];
        at = end + 2;
        let dash = tag.ends_with('-');
        let mut words = tag.trim_matches('-').split_whitespace();
        let is_loop = words.next() == Some("for");
        let name = words.next().unwrap_or_default();
        if is_loop && (words.next(), words.next()) == (Some("in"), Some("fields")) {
            return Some((at, name.to_owned(), dash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_over_all_fields_pass_ours_over() {
        for (written, sent) in [
            ("A {{doc.title}}", "A {{doc.title}}"),
            (
                "{% for field in fields %}{{field.name}}{% endfor %}",
                "{% for field in fields %}{% if field.name == \"_miroir_shard\" %}{% continue %}{% endif %}{{field.name}}{% endfor %}",
            ),
            (
                "{%- for f in fields limit:2 -%} {{f.name}}{% endfor %}",
                "{%- for f in fields limit:2 -%}{% if f.name == \"_miroir_shard\" %}{% continue %}{% endif -%} {{f.name}}{% endfor %}",
            ),
            ("{% for f in doc.list %}{% endfor %}", "{% for f in doc.list %}{% endfor %}"),
            ("{% for f in fields", "{% for f in fields"),
        ] {
            assert_eq!(template_for_nodes(written), sent);
            assert_eq!(template_for_nodes(sent), sent);
            assert_eq!(template_as_written(sent), written);
        }
        assert_ne!(template_for_nodes(DEFAULT_TEMPLATE), DEFAULT_TEMPLATE);
    }
}
