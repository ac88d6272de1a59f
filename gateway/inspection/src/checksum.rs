//! The check digits that identifiers are built with. Each names the standard or the rule that it follows.

use crate::recogniser::Digits;

/// Luhn's formula, ISO/IEC 7812-1 annex B: every second digit from the right is doubled, and the sum ends in 0.
pub(crate) fn luhn(digits: &Digits) -> bool {
    let sum: u32 = digits
        .as_slice()
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    digits.len() > 0 && sum.is_multiple_of(10)
}

/// The sum of the digits, each times the weight at its place.
pub(crate) fn weighted(digits: &Digits, weights: &[u32]) -> u32 {
    digits.as_slice().iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// ISO 7064 MOD 11,10 over all digits, the last of which is the check digit.
pub(crate) fn mod_11_10(digits: &Digits) -> bool {
    let Some((check, body)) = digits.as_slice().split_last() else { return false };
    let product = body.iter().fold(10, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == u32::from(*check)
}

/// ISO 7064 MOD 97-10 over letters and digits, letters counting from A = 10: the remainder.
pub(crate) fn mod_97(characters: impl Iterator<Item = u8>) -> u32 {
    characters.fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        b'A'..=b'Z' => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
        b'a'..=b'z' => (rest * 100 + u32::from(byte - b'a') + 10) % 97,
        _ => rest,
    })
}

/// Verhoeff's formula (J. Verhoeff, Error Detecting Decimal Codes, 1969), over the dihedral group D5.
pub(crate) fn verhoeff(digits: &Digits) -> bool {
    const PRODUCT: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTED: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let check = digits.as_slice().iter().rev().enumerate().fold(0_u8, |check, (place, digit)| {
        PRODUCT[usize::from(check)][usize::from(PERMUTED[place % 8][usize::from(*digit)])]
    });
    digits.len() > 0 && check == 0
}

/// The check digit of EAN-13 (GS1 General Specifications, section 7.9): weights 1 and 3 in turn.
pub(crate) fn ean_13(digits: &Digits) -> bool {
    digits.len() == 13 && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// Whether this day of this month can be, in some year.
pub(crate) fn is_day(day: u64, month: u64) -> bool {
    let longest = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=longest).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Digits {
        Digits::of(text.as_bytes())
    }

    #[test]
    fn each_formula_accepts_a_published_number_and_refuses_every_single_wrong_digit() {
        type Formula = fn(&Digits) -> bool;
        let table: [(&str, Formula); 4] = [
            // The example of ISO/IEC 7812, of the German tax office's test numbers, of Wikipedia on Verhoeff, of GS1.
            ("4992739 8716", luhn),
            ("86095742719", mod_11_10),
            ("2363", verhoeff),
            ("7501031311309", ean_13),
        ];
        for (number, formula) in table {
            assert!(formula(&of(number)), "{number}");
            for place in 0..number.len() {
                for wrong in b'0'..=b'9' {
                    let mut other = number.as_bytes().to_vec();
                    if other[place].is_ascii_digit() && other[place] != wrong {
                        other[place] = wrong;
                        assert!(!formula(&Digits::of(&other)), "{number} with {} at {place}", wrong as char);
                    }
                }
            }
        }
    }

    #[test]
    fn a_mod_97_remainder_counts_letters_from_ten() {
        assert_eq!(mod_97("3214282912345698765432161182".bytes()), 1);
        assert_eq!(mod_97("WEST12345698765432GB82".bytes()), 1);
        assert_eq!(mod_97("west12345698765432gb82".bytes()), 1);
    }

    #[test]
    fn days_are_days_of_some_year() {
        assert!(is_day(29, 2) && is_day(31, 12) && is_day(1, 1));
        assert!(!is_day(30, 2) && !is_day(31, 4) && !is_day(0, 1) && !is_day(1, 13) && !is_day(1, 0));
    }
}
