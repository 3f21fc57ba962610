//! Functions that edit documents (Rhai), on their way to the nodes and back in their errors.

use crate::{RESERVED_PREFIX, SHARD_FIELD};

/// The client's function between the two halves of ours: a function may do anything with a document, and the shard field
/// must outlive that, so it is taken out before, and put back after. A line of its own for the second half: the function
/// may end in a comment.
pub fn guarded_function(function: &str) -> String {
    let kept = format!("{RESERVED_PREFIX}kept");
    format!(
        "{}{function}\n; if type_of(doc) == \"map\" {{ doc.{SHARD_FIELD} = {kept}; }}",
        before()
    )
}

fn before() -> String {
    format!("let {RESERVED_PREFIX}kept = doc.remove(\"{SHARD_FIELD}\"); ")
}

/// A node's message about a guarded function, with places as in the client's own.
pub fn told_of_function(message: &str) -> String {
    const PLACE: &str = "(line 1, position ";
    let Some(at) = message.find(PLACE).map(|at| at + PLACE.len()) else {
        return message.to_owned();
    };
    let end = message[at..]
        .find(')')
        .map_or(message.len(), |end| at + end);
    let own = message[at..end].parse::<usize>().ok();
    match own.and_then(|place| place.checked_sub(before().len())) {
        Some(own) => format!("{}{own}{}", &message[..at], &message[end..]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_in_the_clients_function() {
        let function = "doc.x = nope(3)";
        let place = guarded_function(function).find("nope").unwrap() + 1;
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
}
