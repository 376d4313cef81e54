use std::collections::HashSet;

use super::*;

#[test]
fn every_word_stands_in_the_table_once() {
    let mut seen = HashSet::new();
    for code in CODES {
        assert!(
            seen.insert(letters(code.word)),
            "{} stands twice",
            code.word
        );
        assert_eq!(words_code(&[code.word]).unwrap().word, code.word);
    }
    for (phrase, _) in PHRASES {
        assert_eq!(*phrase, phrase.to_lowercase());
    }
}

#[test]
fn a_word_is_known_in_every_spelling() {
    for (written, kind) in [
        ("ThrottlingException", RateLimited),
        (
            "com.amazon.coral.service#ThrottlingException:http://x/",
            RateLimited,
        ),
        ("openai.RateLimitError", RateLimited),
        ("RATE_LIMIT_EXCEEDED", RateLimited),
        ("too-many-requests", RateLimited),
        ("ContextWindowExceededError", ContextLength),
        ("AuthenticationError", Auth),
        ("BudgetExceededError", Quota),
        ("InternalServerError", ServerError),
        ("APIConnectionError", ServerError),
        ("Timeout", Timeout),
        ("ECONNRESET", Cut),
    ] {
        assert_eq!(meaning(&[written], &[], "").kind, kind, "{written}");
    }
}

#[test]
fn a_narrow_word_goes_before_a_wide_one_and_a_word_before_a_number() {
    for (words, numbers, message, kind, number) in [
        (
            vec!["invalid_request_error", "context_length_exceeded"],
            vec![400],
            "",
            ContextLength,
            400,
        ),
        (vec!["insufficient_quota"], vec![401], "", Quota, 429),
        (
            vec!["requests", "rate_limit_exceeded"],
            vec![],
            "",
            RateLimited,
            429,
        ),
        (vec!["E_42"], vec![402], "", Quota, 402),
        (vec![], vec![14], "", ServerError, 500),
        (vec![], vec![8], "", RateLimited, 429),
        (vec![], vec![418], "", ClientError, 418),
        (
            vec![],
            vec![400],
            "prompt is too long: 9 tokens > 8 maximum",
            ContextLength,
            400,
        ),
        (
            vec![],
            vec![500],
            "the rate limit service is down",
            ServerError,
            500,
        ),
        (
            vec![],
            vec![],
            "Error code: 404 - {'error': ..}",
            ClientError,
            404,
        ),
        (vec![], vec![], "no idea", ServerError, 500),
    ] {
        let read = meaning(&words, &numbers, message);
        assert_eq!(read.kind, kind, "{words:?} {numbers:?} {message}");
        assert_eq!(read.number, Some(number), "{words:?} {numbers:?} {message}");
    }
}

#[test]
fn the_page_for_authors_has_the_same_table() {
    const PAGE: &str = include_str!("../../../../../docs/failures.md");
    let row = |code: &Code| {
        let number = code.number.map(|number| format!("{number} "));
        let number = number.unwrap_or_default();
        format!(
            "| `{}` | `{}` | {number}| {} |",
            code.word, code.kind, code.used_by
        )
    };
    let words = CODES.iter().map(row);
    let phrases = PHRASES
        .iter()
        .map(|(phrase, kind)| format!("| {phrase} | `{kind}` |"));
    let expected: Vec<String> = words.chain(phrases).collect();
    let columns = |line: &&str| line.matches(" | ").count() >= 1 && line.starts_with("| ");
    let told = PAGE
        .lines()
        .skip_while(|line| *line != "## Words")
        .filter(columns)
        .filter(|line| !line.starts_with("| word") && !line.starts_with("| contains"));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
