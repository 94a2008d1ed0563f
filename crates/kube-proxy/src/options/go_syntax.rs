//! How Go writes flag values: `time.ParseDuration`, `strconv.ParseBool`, `strconv.ParseInt` with base 0, and the one
//! CSV line that pflag's `StringSlice` is. Scripts and charts of the proxies that Keyway replaces are written for these.

/// Nanoseconds of `300ms`, `1h30m`, `-1.5s`, `0`.
///
/// # Errors
/// Says what is wrong with the text.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let wrong = || {
        let hint = if text.parse::<f64>().is_ok() { ": it lacks a unit" } else { "" };
        format!("'{text}' is not a duration{hint}; write it like 300ms, 5s or 1h30m (units ns, us, ms, s, m, h)")
    };
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = digits(rest);
        let (fraction, after_number) = match after_whole.strip_prefix('.') {
            Some(after_point) => digits(after_point),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(wrong());
        }
        let end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, after_unit) = after_number.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        total = number(whole)
            .and_then(|whole| whole.checked_mul(unit))
            .and_then(|whole| total.checked_add(whole))
            .and_then(|sum| sum.checked_add(part_of(fraction, unit)))
            .filter(|sum| *sum <= i128::from(i64::MAX))
            .ok_or_else(|| format!("the duration '{text}' is too long"))?;
        rest = after_unit;
    }
    let nanoseconds = i64::try_from(total).map_err(|_| wrong())?;
    Ok(if negative { -nanoseconds } else { nanoseconds })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> Option<i128> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// `fraction` are the digits behind the point; what is below a nanosecond is dropped, as in Go.
fn part_of(fraction: &str, unit: i128) -> i128 {
    let (mut value, mut scale) = (0, unit);
    for digit in fraction.bytes() {
        scale /= 10;
        value += i128::from(digit - b'0') * scale;
    }
    value
}

/// # Errors
/// Names the words that are allowed.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// A decimal integer, or one with Go's prefixes `0x`, `0o`, `0b` (and `0`, octal).
///
/// # Errors
/// Says that it is none.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let value = i64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| digits.starts_with(|c: char| c.is_ascii_alphanumeric()))
        .ok_or_else(|| format!("'{text}' is not a whole number"))?;
    Ok(if negative { -value } else { value })
}

/// The fields of one CSV line (RFC 4180); an empty text has none.
///
/// # Errors
/// Says which quote is out of place.
pub(super) fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or_else(|| format!("a quote in '{text}' is not closed"))?,
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if field.contains('"') {
                    return Err(format!("a quote in '{text}' is not at the beginning of a value"));
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(format!("a quoted value in '{text}' must be followed by a comma")),
        }
    }
}

fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}
