//! Picking parts of a document by dotted names, with Meilisearch's tolerance (`permissive-json-pointer`).
//!
//! A name reaches into objects and through arrays (`doctors.name` finds the name of each doctor), and a document may
//! also hold a key that contains dots itself: both readings of a dotted name count.

use serde_json::{Map, Value};

pub type Object = Map<String, Value>;

/// What is left of `object` when only `names` are kept. An object or array on the way stays, even where it gets empty.
pub fn select(object: &Object, names: &[&str]) -> Object {
    let mut kept = Object::new();
    for (key, value) in object {
        if names.contains(&key.as_str()) {
            kept.insert(key.clone(), value.clone());
            if !key.contains('.') {
                continue;
            }
        }
        let inner: Vec<&str> = names.iter().filter_map(|name| below(name, key)).collect();
        if inner.is_empty() {
            continue;
        }
        match value {
            Value::Array(array) => {
                kept.insert(key.clone(), Value::Array(select_in_array(array, &inner)));
            }
            Value::Object(object) => {
                kept.insert(key.clone(), Value::Object(select(object, &inner)));
            }
            _ => {}
        }
    }
    kept
}

fn select_in_array(array: &[Value], names: &[&str]) -> Vec<Value> {
    let mut kept = Vec::new();
    for value in array {
        match value {
            Value::Array(inner) => kept.push(Value::Array(select_in_array(inner, names))),
            Value::Object(object) => {
                let object = select(object, names);
                if !object.is_empty() {
                    kept.push(Value::Object(object));
                }
            }
            _ => {}
        }
    }
    kept
}

/// The rest of `name` below `key`: `b.c` for `a.b.c` and `a`.
fn below<'n>(name: &'n str, key: &str) -> Option<&'n str> {
    name.strip_prefix(key)?.strip_prefix('.')
}

/// Calls `change` with each scalar that one of `names` reaches: its dotted name, the positions in the arrays on the
/// way, and the value.
pub fn for_each_leaf(
    object: &mut Object,
    names: &[&str],
    change: &mut dyn FnMut(&str, &[usize], &mut Value),
) {
    let mut walk = Walk {
        names,
        change,
        path: String::new(),
        positions: Vec::new(),
    };
    walk.object(object);
}

struct Walk<'w> {
    names: &'w [&'w str],
    change: &'w mut dyn FnMut(&str, &[usize], &mut Value),
    path: String,
    positions: Vec<usize>,
}

impl Walk<'_> {
    fn object(&mut self, object: &mut Object) {
        let parent = self.path.len();
        for (key, value) in object.iter_mut() {
            if parent != 0 {
                self.path.push('.');
            }
            self.path.push_str(key);
            if self
                .names
                .iter()
                .any(|name| is_at_or_below(name, &self.path) || is_at_or_below(&self.path, name))
            {
                self.value(value);
            }
            self.path.truncate(parent);
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) => self.object(object),
            Value::Array(array) => {
                for (position, value) in array.iter_mut().enumerate() {
                    self.positions.push(position);
                    self.value(value);
                    self.positions.pop();
                }
            }
            leaf => (self.change)(&self.path, &self.positions, leaf),
        }
    }
}

fn is_at_or_below(name: &str, ancestor: &str) -> bool {
    name.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn names_reach_through_objects_and_arrays() {
        let document = object(json!({
            "id": 1, "race": {"name": "pinscher", "size": 3}, "doctors": [{"name": "bob", "age": 4}, 7, [{"name": "jo"}]],
            "race.name": "dotted", "racer": 1,
        }));
        assert_eq!(
            Value::from(select(
                &document,
                &["id", "race.name", "doctors.name", "missing"]
            )),
            json!({"id": 1, "race": {"name": "pinscher"}, "doctors": [{"name": "bob"}, [{"name": "jo"}]], "race.name": "dotted"})
        );
        assert_eq!(
            Value::from(select(&document, &["race.colour", "id.x"])),
            json!({"race": {}})
        );
        assert_eq!(
            Value::from(select(&document, &["race", "race.name"]))["race"],
            document["race"]
        );
    }

    #[test]
    fn leaves_know_where_they_are() {
        let mut document = object(json!({"a": {"b": ["x", {"c": 1}], "d": 2}, "e": null, "f": 3}));
        let mut seen = Vec::new();
        for_each_leaf(
            &mut document,
            &["a.b", "e"],
            &mut |path, positions, value| {
                seen.push((path.to_owned(), positions.to_vec(), value.take()));
            },
        );
        assert_eq!(
            seen,
            [
                ("a.b".to_owned(), vec![0], json!("x")),
                ("a.b.c".to_owned(), vec![1], json!(1)),
                ("e".to_owned(), vec![], json!(null)),
            ]
        );
        assert_eq!(
            Value::from(document),
            json!({"a": {"b": [null, {"c": null}], "d": 2}, "e": null, "f": 3})
        );
    }
}
