use super::*;

#[test]
fn columns_line_up_without_borders() {
    let mut table = with_header(&["ID", "CALLS"], &["CALLS"]);
    table.add_row(["pii_guard", "7"]).add_row(["ä世", "1234"]);
    assert_eq!(
        text(&table),
        "ID         CALLS\npii_guard      7\nä世         1234"
    );
}

#[test]
fn fields_keep_values_under_each_other() {
    assert_eq!(
        of_fields(&[("id", "a".into()), ("config", "{\n}".into())]),
        "id      a\nconfig  {\n        }"
    );
}

fn wide() -> Table {
    let mut table = with_header(&["ID", "STATE", "CALLS", "UNTIL", "REASON"], &["CALLS"]);
    let reason = "five failures in a row, and nobody knows why";
    table.add_row([
        "guard",
        "open (v2)",
        "7",
        "2026-01-01T00:00:05.000Z",
        reason,
    ]);
    table.add_row(["open", "closed", "9", "-", "-"]);
    table.sparing(&["CALLS", "NOT THERE"])
}

fn drawn(width: usize, colour: bool) -> Vec<String> {
    wide().drawn(Look { width, colour })
}

#[test]
fn what_has_no_room_is_left_out_and_then_cut() {
    let lines = drawn(80, false);
    let expected = "\
ID     STATE      UNTIL                     REASON
guard  open (v2)  2026-01-01T00:00:05.000Z  five failures in a row, and nobody …
open   closed     -                         -";
    assert_eq!(lines.join("\n"), expected);
    assert!(
        drawn(120, false)
            .first()
            .is_some_and(|line| line.contains("CALLS"))
    );
    for width in 60..120 {
        let widest = drawn(width, false)
            .iter()
            .map(|line| line.chars().count())
            .max();
        assert!(widest <= Some(width), "{widest:?} of {width}");
    }
}

#[test]
fn cutting_ends_where_nothing_is_left_to_cut() {
    let lines = drawn(10, false);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("2026-01-01T00:00:05.000Z"))
    );
}

#[test]
fn what_is_wrong_is_red_where_it_says_so() {
    let lines = drawn(200, true);
    let red = lines.get(1).expect("a row");
    assert!(
        red.starts_with("guard  \u{1b}[31mopen (v2)\u{1b}[0m  "),
        "{red:?}"
    );
    let quiet = lines.get(2).expect("a row");
    assert!(!quiet.contains('\u{1b}'), "an id is no state: {quiet:?}");
    let bare: Vec<String> = lines
        .iter()
        .map(|line| line.replace("\u{1b}[31m", "").replace("\u{1b}[0m", ""))
        .collect();
    assert_eq!(bare, drawn(200, false));
}

#[test]
fn sentences_are_cut_before_names() {
    let mut table = with_header(&["ID", "STATUS", "REASON"], &[]);
    let id = "an_extension_with_a_name_of_its_own";
    table.add_row([
        id,
        "error",
        "it has not answered for a while, and nobody knows why",
    ]);
    let look = Look {
        width: 60,
        colour: false,
    };
    let row = table.drawn(look).pop().expect("a row");
    assert!(row.starts_with(id) && row.ends_with('…'), "{row}");
    assert_eq!(row.chars().count(), 60, "{row}");
}
