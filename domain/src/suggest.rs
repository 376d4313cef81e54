//! What somebody may have meant by a word that is not known.

/// Bytes of a word that is looked at. Nobody means anything by a longer one, and comparing takes as
/// long as both words together are long, squared.
const LONGEST: usize = 256;

/// The known word that is a slip or two away: of those nearest to `word` the first in the alphabet.
/// In a word of three letters two slips would fit nearly everything, and a long one may have a
/// third.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let letters = word.chars().count();
    let most = if letters < 4 { 1 } else { 2.max(letters / 6) };
    known
        .iter()
        // Each slip is at most a letter more or less.
        .filter(|candidate| candidate.chars().count().abs_diff(letters) <= most)
        .map(|candidate| (strsim::levenshtein(word, candidate), *candidate))
        .filter(|(slips, _)| *slips <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_slip_or_two_is_taken_for_the_nearest_that_is_known() {
        let known = ["priority", "provider", "post", "pre", "weight", "weights"];
        for (word, expected) in [
            ("priority", Some("priority")),
            ("prioritty", Some("priority")),
            ("wieght", Some("weight")),
            ("weihgts", Some("weights")),
            ("weightz", Some("weight")),
            ("pst", Some("post")),
            ("pots", Some("post")),
            ("po", None),
            ("", None),
            ("temperature", None),
        ] {
            assert_eq!(closest(word, &known), expected, "{word}");
        }
    }

    #[test]
    fn a_word_without_end_is_not_compared() {
        let long = "a".repeat(LONGEST + 1);
        let almost = "a".repeat(LONGEST);
        assert_eq!(closest(&long, &[almost.as_str()]), None);
        let short = &almost[1..];
        assert_eq!(closest(short, &[almost.as_str()]), Some(almost.as_str()));
    }

    #[test]
    fn long_words_may_have_more_slips_and_letters_are_not_bytes() {
        let known = ["router.max_in_flight_per_extension", "größe"];
        assert_eq!(
            closest("router.maxinflight_per_extension", &known),
            Some(known[0])
        );
        assert_eq!(closest("routr.maxinflightperextension", &known), None);
        assert_eq!(closest("grüsse", &["größe"]), None);
        assert_eq!(closest("gröse", &["größe"]), Some("größe"));
    }
}
