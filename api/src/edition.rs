//! Functions that edit documents (Rhai), on their way to the nodes and back in their errors.

use crate::{RESERVED_PREFIX, SHARD_FIELD};

/// The client's function between the two halves of ours: a function may do anything with a document, and the shard field
/// must outlive that, so it is taken out before, and put back after. A line of its own for the second half: the function
/// may end in a comment. One that may return before its end becomes a closure, which it then leaves instead of the script.
///
/// `None`: it would leave the script all the same (`exit`), or cannot be a closure, because it defines functions.
pub fn guarded_function(function: &str) -> Option<String> {
    let returns = has_word(function, "return");
    if has_word(function, "exit") || (returns && has_word(function, "fn")) {
        return None;
    }
    let (begin, end) = match returns {
        true => (before_closure(), after_closure()),
        false => (before(), ";".to_owned()),
    };
    Some(format!(
        "{begin}{function}\n{end} if type_of(doc) == \"map\" {{ doc.{SHARD_FIELD} = {RESERVED_PREFIX}kept; }}"
    ))
}

/// Whether the word stands in it. In a text or a comment it means nothing, and is found as well.
fn has_word(function: &str, word: &str) -> bool {
    function
        .split(|sign: char| !(sign.is_alphanumeric() || sign == '_'))
        .any(|found| found == word)
}

fn before() -> String {
    format!("let {RESERVED_PREFIX}kept = doc.remove(\"{SHARD_FIELD}\"); ")
}

fn before_closure() -> String {
    format!("{}let {RESERVED_PREFIX}edit = || {{ ", before())
}

fn after_closure() -> String {
    format!("}}; {RESERVED_PREFIX}edit.call();")
}

/// A node's message about a guarded function, with places as in the client's own.
pub fn told_of_function(message: &str) -> String {
    const CALLED: &str = "\nin closure call (line ";
    let called_at = after_closure().find("call").unwrap_or_default() + 1;
    let ours = |rest: &str| rest.ends_with(&format!(", position {called_at})"));
    // What a closure of ours adds stands last.
    match message.rsplit_once(CALLED).filter(|(_, rest)| ours(rest)) {
        Some((said, _)) => moved(said, before_closure().len()),
        None => moved(message, before().len()),
    }
}

/// The message with its place on the first line that much further to the left.
fn moved(message: &str, left: usize) -> String {
    const PLACE: &str = "(line 1, position ";
    let Some(at) = message.find(PLACE).map(|at| at + PLACE.len()) else {
        return message.to_owned();
    };
    let end = message[at..]
        .find(')')
        .map_or(message.len(), |end| at + end);
    let own = message[at..end].parse::<usize>().ok();
    match own.and_then(|place| place.checked_sub(left)) {
        Some(own) => format!("{}{own}{}", &message[..at], &message[end..]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, word: &str) -> usize {
        guarded_function(function).unwrap().find(word).unwrap() + 1
    }

    #[test]
    fn places_are_those_in_the_clients_function() {
        let place = place("doc.x = nope(3)", "nope");
        let told = told_of_function(&format!(
            "Function not found: nope (i64) (line 1, position {place})"
        ));
        assert_eq!(told, "Function not found: nope (i64) (line 1, position 9)");
        for same in [
            "Variable not found: zz (line 2, position 9)",
            "(line 1, position 3)",
            "no place",
        ] {
            assert_eq!(told_of_function(same), same);
        }
    }

    #[test]
    fn a_closure_of_ours_is_not_told() {
        let function = "doc.x = nope(3); return";
        let place = place(function, "nope");
        let guarded = guarded_function(function).unwrap();
        let called = guarded.lines().last().unwrap().find("call").unwrap() + 1;
        let told = told_of_function(&format!(
            "Runtime error: bad (line 1, position {place})\nin closure call (line 2, position {called})"
        ));
        assert_eq!(told, "Runtime error: bad (line 1, position 9)");
    }

    #[test]
    fn what_leaves_the_script_is_no_function() {
        for refused in ["exit()", "fn a() { return 1 } doc.a = a()"] {
            assert!(guarded_function(refused).is_none(), "{refused}");
        }
        for lawful in [
            "doc.returned = doc.exits",
            "fn a() { 1 } doc.a = a()",
            "return",
        ] {
            assert!(guarded_function(lawful).is_some(), "{lawful}");
        }
    }
}
