//! docs/api.md does what it says: every program in it is run against a router, every answer and
//! every code in it is brought about, and its tables name what the contract has.

mod alike;
mod codes;
mod connections;
mod payloads;
mod programs;
mod tables;
mod tools;

use beamline_markdown::Block;

const GUIDE: &str = include_str!("../docs/api.md");

fn blocks() -> impl Iterator<Item = Block> {
    beamline_markdown::blocks(GUIDE)
}

/// The one block with these marks, such as `json answer=route`.
fn block(marks: &str) -> Block {
    let mut found = blocks().filter(|block| block.marks.join(" ") == marks);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no block is marked {marks}"));
    let second = found.next().map(|block| block.line);
    assert_eq!(second, None, "a second block is marked {marks}");
    first
}

/// What a mark says, such as `route` of `example=route`.
fn said<'b>(block: &'b Block, key: &str) -> Option<&'b str> {
    let mark = block.marks.get(1)?;
    mark.strip_prefix(key)?.strip_prefix('=')
}

#[test]
fn every_block_is_marked_as_something_that_is_run() {
    for block in blocks() {
        let marks: Vec<&str> = block.marks.iter().map(String::as_str).collect();
        let keys: &[&str] = match marks.as_slice() {
            // How a reader logs in.
            ["sh", "login"] => continue,
            ["sh", "setup"] | ["text", "nats-user"] => continue,
            ["sh" | "python" | "typescript" | "go", _] => &["example"],
            ["json", _] => &["answer", "code", "file"],
            ["text", _] => &["answer", "prints"],
            _ => &[],
        };
        let is_known = keys.iter().any(|key| said(&block, key).is_some());
        assert!(
            is_known,
            "line {}: nothing runs a block that is marked {marks:?}",
            block.line
        );
    }
}
