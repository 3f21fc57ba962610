//! Pages of `docs/` with parts that tests write, each between `<!-- NAME: ... -->` and `<!-- end of NAME -->`.

use std::path::PathBuf;

/// Set to `1` where a test shall write its parts instead of comparing them.
const WRITE: &str = "MIROIR_WRITE_DOCS";

/// A page, read.
pub struct Page {
    name: &'static str,
    text: String,
}

impl Page {
    /// Reads `docs/NAME`; errors are for people.
    pub fn read(name: &'static str) -> Result<Page, String> {
        let text = std::fs::read_to_string(path(name)).map_err(|e| failed(name, &e))?;
        Ok(Page { name, text })
    }

    /// What stands in a part.
    pub fn part(&self, name: &str) -> Result<&str, String> {
        let (from, to) = self.span(name)?;
        Ok(&self.text[from..to])
    }

    /// Puts a text into a part.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let (from, to) = self.span(name)?;
        self.text.replace_range(from..to, &format!("\n{text}"));
        Ok(())
    }

    /// Stores the page.
    pub fn write(&self) -> Result<(), String> {
        std::fs::write(path(self.name), &self.text).map_err(|e| failed(self.name, &e))
    }

    fn span(&self, name: &str) -> Result<(usize, usize), String> {
        let missing = || format!("docs/{} has no part `{name}`", self.name);
        let start = self
            .text
            .find(&format!("<!-- {name}:"))
            .ok_or_else(missing)?;
        let from = start + self.text[start..].find("-->\n").ok_or_else(missing)? + 4;
        let to = self
            .text
            .find(&format!("<!-- end of {name} -->"))
            .ok_or_else(missing)?;
        (from <= to).then_some((from, to)).ok_or_else(missing)
    }
}

/// Whether tests shall write their parts of the pages.
pub fn writes() -> bool {
    std::env::var(WRITE).is_ok_and(|value| value == "1")
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

fn failed(name: &str, error: &std::io::Error) -> String {
    format!("{}: {error}", path(name).display())
}
