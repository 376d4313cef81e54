//! As much of Markdown as the documents have: sections, fenced blocks, tables.

#![expect(
    clippy::expect_used,
    reason = "a test ends where a document is not well-formed"
)]

/// What matters of a document, in its order.
#[derive(Debug)]
pub enum Item {
    /// A heading of the second level: what was registered before it is forgotten.
    Section,
    Block(Block),
    Table(Table),
}

#[derive(Debug)]
pub struct Block {
    /// Of its first fence, from 1.
    pub line: usize,
    /// What stands behind the fence: language and marks.
    pub marks: Vec<String>,
    pub text: String,
}

#[derive(Debug)]
pub struct Table {
    pub line: usize,
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Everything in the order of the document.
///
/// # Panics
/// Where a table is none.
pub fn items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let inside = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```");
            let text = inside.map(|line| format!("{line}\n")).collect();
            let marks = info.split_whitespace().map(str::to_owned).collect();
            items.push(Item::Block(Block {
                line: index + 1,
                marks,
                text,
            }));
        } else if line.starts_with("## ") {
            items.push(Item::Section);
        } else if line.starts_with('|') {
            let mut rows = Vec::new();
            while let Some((_, row)) = lines.next_if(|(_, line)| line.starts_with('|')) {
                rows.push(cells(row));
            }
            assert!(
                !rows.is_empty() && rows.remove(0).iter().all(|cell| cell == "---"),
                "line {}: no table",
                index + 1
            );
            let header = cells(line);
            let wide = rows.iter().find(|row| row.len() != header.len());
            assert!(
                wide.is_none(),
                "line {}: {wide:?} has not as many cells as the header",
                index + 1
            );
            items.push(Item::Table(Table {
                line: index + 1,
                header,
                rows,
            }));
        }
    }
    items
}

fn cells(row: &str) -> Vec<String> {
    let inside = row
        .strip_prefix('|')
        .and_then(|row| row.trim_end().strip_suffix('|'))
        .expect("a whole row");
    inside
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// What stands in backquotes in a cell.
pub fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The blocks alone.
pub fn blocks(text: &str) -> impl Iterator<Item = Block> {
    items(text).into_iter().filter_map(|item| match item {
        Item::Block(block) => Some(block),
        Item::Section | Item::Table(_) => None,
    })
}

/// The tables whose header begins like this.
///
/// # Panics
/// When there is none.
pub fn tables(text: &str, header: &[&str]) -> Vec<Table> {
    let begins = |item| match item {
        Item::Table(table) if table.header.iter().zip(header).all(|(a, b)| a == b) => Some(table),
        Item::Table(_) | Item::Section | Item::Block(_) => None,
    };
    let found: Vec<Table> = items(text).into_iter().filter_map(begins).collect();
    assert!(
        !found.is_empty() && found.iter().all(|table| !table.rows.is_empty()),
        "no table with {header:?}"
    );
    found
}
