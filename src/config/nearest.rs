//! The known word nearest to one that is not known.

/// The word of `known` with the fewest edits to `word`, if they are few.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let worst = EDITS_MAX.min(word.chars().count().div_ceil(2));
    known
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= worst)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (to, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            left = replaced.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// More than three slips of the finger are another word.
const EDITS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["address", "password", "provider"];
        assert_eq!(nearest("adress", known.into_iter()), Some("address"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest("x", known.into_iter()), None);
        assert_eq!(nearest("lgo", ["log", "host"].into_iter()), Some("log"));
    }
}
