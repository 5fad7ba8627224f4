//! Medians, spreads and percentiles.

/// The middle of the values: of an even number, the mean of both. Nothing of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted.get(middle).copied();
    }
    Some(f64::midpoint(
        *sorted.get(middle.checked_sub(1)?)?,
        *sorted.get(middle)?,
    ))
}

/// The smallest and the largest value.
pub(crate) fn spread(values: &[f64]) -> Option<(f64, f64)> {
    let smallest = values.iter().copied().min_by(f64::total_cmp)?;
    let largest = values.iter().copied().max_by(f64::total_cmp)?;
    Some((smallest, largest))
}

/// The value that `percent` of the values do not exceed (nearest rank).
pub(crate) fn percentile(values: &mut [f64], percent: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

/// The median of the quotients, round by round, where both rounds have a value and the divisor is not zero.
pub(crate) fn ratio(values: &[Option<f64>], divisors: &[Option<f64>]) -> Option<f64> {
    let quotients: Vec<f64> = values
        .iter()
        .zip(divisors)
        .filter_map(|(value, divisor)| Some(((*value)?, (*divisor)?)))
        .filter(|(_, divisor)| *divisor != 0.0)
        .map(|(value, divisor)| value / divisor)
        .collect();
    median(&quotients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers_and_of_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_spread_is_both_ends() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 50.0), Some(50.0));
        assert_eq!(percentile(&mut values, 99.0), Some(99.0));
        assert_eq!(percentile(&mut [5.0, 9.0], 99.0), Some(9.0));
        assert_eq!(percentile(&mut [5.0], 1.0), Some(5.0));
        assert_eq!(percentile(&mut [], 50.0), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let values = [Some(2.0), Some(30.0), None, Some(5.0)];
        let divisors = [Some(1.0), Some(10.0), Some(1.0), Some(0.0)];
        assert_eq!(ratio(&values, &divisors), Some(2.5));
        assert_eq!(ratio(&values, &[]), None);
    }
}
