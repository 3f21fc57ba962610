//! Comparing two JSON values and saying where they differ.

use serde_json::Value;

/// One place where two values differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Dotted path from the root of the answer.
    pub path: String,
    pub left: Option<Value>,
    pub right: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |v: &Option<Value>| {
            v.as_ref()
                .map_or("(missing)".to_string(), |v| shorten(&v.to_string()))
        };
        write!(
            f,
            "{}: {} | {}",
            self.path,
            text(&self.left),
            text(&self.right)
        )
    }
}

/// All differences of two values; the order of an object's members is ignored.
pub fn diff(left: &Value, right: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(Some(left), Some(right), "", &mut found);
    found
}

/// Where `actual` lacks what `expected` demands: members not named are free, arrays match element by element.
pub fn partial(expected: &Value, actual: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    demand(expected, Some(actual), "", &mut found);
    found
}

/// Takes out everything at `pattern`: dotted members, `*` for any one member or element, `**` for any number of them. A last member
/// with `!` behind it stays, but all texts and numbers below it are emptied: which members there are still counts.
pub fn remove(value: &mut Value, pattern: &str) {
    let segments: Vec<&str> = pattern.split('.').collect();
    remove_at(value, &segments);
}

/// The value as text with sorted members: equal texts are equal values.
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Object(map) => {
                let mut names: Vec<&String> = map.keys().collect();
                names.sort();
                names
                    .into_iter()
                    .map(|n| (n.clone(), sorted(&map[n])))
                    .collect()
            }
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// At most a few lines of a long text.
pub fn shorten(text: &str) -> String {
    const MAX: usize = 1200;
    if text.len() <= MAX {
        return text.to_string();
    }
    let end = (0..=MAX)
        .rev()
        .find(|&i| text.is_char_boundary(i))
        .unwrap_or(0);
    format!("{}… ({} bytes)", &text[..end], text.len())
}

fn walk(left: Option<&Value>, right: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    match (left, right) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for name in a.keys().chain(b.keys().filter(|n| !a.contains_key(*n))) {
                walk(a.get(name), b.get(name), &join(path, name), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for i in 0..a.len().max(b.len()) {
                walk(a.get(i), b.get(i), &join(path, &i.to_string()), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(Difference {
            path: path.to_string(),
            left: a.cloned(),
            right: b.cloned(),
        }),
    }
}

fn demand(expected: &Value, actual: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    match (expected, actual) {
        (Value::Object(a), Some(Value::Object(b))) => {
            for (name, value) in a {
                demand(value, b.get(name), &join(path, name), found);
            }
        }
        (Value::Array(a), Some(Value::Array(b))) if a.len() == b.len() => {
            for (i, value) in a.iter().enumerate() {
                demand(value, b.get(i), &join(path, &i.to_string()), found);
            }
        }
        (a, b) if Some(a) == b => {}
        (a, b) => found.push(Difference {
            path: path.to_string(),
            left: Some(a.clone()),
            right: b.cloned(),
        }),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path}.{name}")
    }
}

fn remove_at(value: &mut Value, segments: &[&str]) {
    let Some((first, rest)) = segments.split_first() else {
        return;
    };
    if *first == "**" {
        remove_at(value, rest);
        match value {
            Value::Object(map) => map.values_mut().for_each(|v| remove_at(v, segments)),
            Value::Array(items) => items.iter_mut().for_each(|v| remove_at(v, segments)),
            _ => {}
        }
        return;
    }
    if let (Some(name), Some(map)) = (first.strip_suffix('!'), value.as_object_mut()) {
        map.get_mut(name).into_iter().for_each(empty);
        return;
    }
    match value {
        Value::Object(map) if rest.is_empty() => {
            map.retain(|name, _| *first != "*" && name != first)
        }
        Value::Object(map) => map
            .iter_mut()
            .filter(|(n, _)| *first == "*" || n == first)
            .for_each(|(_, v)| remove_at(v, rest)),
        Value::Array(items) if rest.is_empty() && *first == "*" => items.clear(),
        Value::Array(items) => {
            let at: Option<usize> = first.parse().ok();
            items
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| *first == "*" || at == Some(*i))
                .for_each(|(_, v)| remove_at(v, rest));
        }
        _ => {}
    }
}

fn empty(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(empty),
        Value::Array(items) => items.iter_mut().for_each(empty),
        leaf => *leaf = Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn member_order_is_ignored_and_everything_else_shows() {
        assert!(diff(
            &json!({"a": 1, "b": [1, {"c": null}]}),
            &json!({"b": [1, {"c": null}], "a": 1})
        )
        .is_empty());
        let found = diff(
            &json!({"a": 1, "b": [1, 2]}),
            &json!({"a": 2, "b": [1], "c": null}),
        );
        let paths: Vec<&str> = found.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["a", "b.1", "c"]);
    }

    #[test]
    fn partial_leaves_unnamed_members_free() {
        assert!(partial(
            &json!({"a": {"b": 1}}),
            &json!({"a": {"b": 1, "c": 2}, "d": 3})
        )
        .is_empty());
        assert_eq!(partial(&json!({"a": [1]}), &json!({"a": [1, 2]})).len(), 1);
        assert_eq!(
            partial(&json!({"a": null}), &json!({})).len(),
            1,
            "null is a value, not absence"
        );
    }

    #[test]
    fn emptied_members_stay() {
        let mut v = json!({"hits": [{"_formatted": {"a": "x", "b": ["y", {"c": 1}]}, "d": "z"}]});
        remove(&mut v, "**._formatted!");
        assert_eq!(
            v,
            json!({"hits": [{"_formatted": {"a": null, "b": [null, {"c": null}]}, "d": "z"}]})
        );
    }

    #[test]
    fn patterns_remove_what_they_name() {
        let mut v = json!({"hits": [{"id": 1, "s": 2}, {"id": 3, "d": {"t": {"s": 4}}}], "s": 5});
        remove(&mut v, "hits.*.s");
        assert_eq!(
            v,
            json!({"hits": [{"id": 1}, {"id": 3, "d": {"t": {"s": 4}}}], "s": 5})
        );
        remove(&mut v, "**.s");
        assert_eq!(v, json!({"hits": [{"id": 1}, {"id": 3, "d": {"t": {}}}]}));
    }
}
