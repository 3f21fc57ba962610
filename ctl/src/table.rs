//! Text tables: columns as wide as their widest cell, two spaces between them.

/// Prints `rows` under `head`.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    print!("{}", render(head, rows));
}

fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells =
        |row: &[String], column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, name)| {
            rows.iter()
                .map(|row| cells(row, column))
                .max()
                .unwrap_or(0)
                .max(name.len())
        })
        .collect();
    let mut text = line(&widths, head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        text.push_str(&line(&widths, row.iter().cloned()));
    }
    text
}

fn line(widths: &[usize], cells: impl Iterator<Item = String>) -> String {
    let padded: Vec<String> = cells
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    format!("{}\n", padded.join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["meili-0".to_owned(), "up".to_owned()],
            vec!["m".to_owned(), "down".to_owned()],
        ];
        assert_eq!(
            render(&["id", "state"], &rows),
            "ID       STATE\nmeili-0  up\nm        down\n"
        );
    }
}
