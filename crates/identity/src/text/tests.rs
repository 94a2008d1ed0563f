use super::{flaw, quoted};

#[test]
fn a_name_without_a_visible_character_is_blank() {
    for text in ["", " ", "\t", "   ", "\r\n", "\u{a0}", "\u{2003}\u{3000}", "\u{85}", "\u{2028}"] {
        assert_eq!(flaw(text), Some("is blank"), "{text:?}");
    }
}

#[test]
fn whitespace_around_a_name_is_refused_and_within_it_is_not() {
    // Every character of Unicode's White_Space that is not a control character.
    let spaces = [
        ' ', '\u{a0}', '\u{1680}', '\u{2000}', '\u{2001}', '\u{2002}', '\u{2003}', '\u{2004}', '\u{2005}', '\u{2006}',
        '\u{2007}', '\u{2008}', '\u{2009}', '\u{200a}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}',
    ];
    for space in spaces {
        assert_eq!(flaw(&format!("{space}joe")), Some("begins or ends with whitespace"), "{space:?}");
        assert_eq!(flaw(&format!("joe{space}")), Some("begins or ends with whitespace"), "{space:?}");
        assert_eq!(flaw(&format!("joe{space}doe")), None, "{space:?}");
    }
}

#[test]
fn every_control_character_is_refused_wherever_it_is() {
    let controls: Vec<char> = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}').collect();
    assert_eq!(controls.len(), 65);
    for control in controls {
        for text in [format!("{control}joe"), format!("joe{control}"), format!("jo{control}e")] {
            assert_eq!(flaw(&text), Some("contains a control character"), "{text:?}");
        }
    }
}

/// They are not in Unicode's White_Space: no receiver trims them, so the name arrives as it is.
#[test]
fn invisible_characters_that_are_not_whitespace_are_part_of_the_name() {
    for invisible in ['\u{200b}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{202e}'] {
        assert_eq!(flaw(&format!("{invisible}joe")), None, "{invisible:?}");
    }
}

#[test]
fn ordinary_names_have_no_flaw() {
    for text in ["joe", "joe@example.com", "Joe Doe", "CN=joe,O=dev", "josé", "李", "a", "system:x", "-", "😀"] {
        assert_eq!(flaw(text), None, "{text:?}");
    }
}

#[test]
fn a_quotation_is_bounded_and_has_no_line_breaks() {
    assert_eq!(quoted("joe"), r#""joe""#);
    assert_eq!(quoted("a\r\nlevel=error\u{2028}\u{1b}[31m\0\""), r#""a\r\nlevel=error\u{2028}\u{1b}[31m\0\"""#);
    assert_eq!(quoted(&"x".repeat(200)), format!("\"{}\"", "x".repeat(200)));
    assert_eq!(quoted(&"x".repeat(201)), format!("\"{}\"…", "x".repeat(200)));
    assert_eq!(quoted(&"é".repeat(201)), format!("\"{}\"…", "é".repeat(200)));
    assert!(quoted(&"\u{10ffff}".repeat(65_536)).len() < 2100);
}
