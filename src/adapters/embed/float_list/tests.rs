//! Lists of numbers as providers and faulty servers send them.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// As for a hundred texts.
const LIMITS: ListLimits = ListLimits { lists: 101, floats: 4096 };

/// The floats of one list.
fn floats(list: &str) -> serde_json::Result<Vec<f32>> {
    let mut answer = extract(list.as_bytes(), LIMITS);
    let json = String::from_utf8(answer.json.clone()).unwrap();
    answer.floats(&serde_json::from_str(&json)?)
}

#[test]
fn floats_are_those_that_any_correct_parser_gives() {
    let mut random = fastrand::Rng::with_seed(1);
    let drawn = (0..20_000).map(|_| {
        let (places, x) = (random.usize(..18), (random.f64() - 0.5) * 10_f64.powi(random.i32(-4..10)));
        format!("{x:.places$}")
    });
    let unusual = [
        "0",
        "-0",
        "-0.0",
        "1",
        "1e3",
        "-2.5E-3",
        "0.1",
        "12345678",
        "0.12345678",
        "123456789012345",
        "1234567890123456",
        "0.12345678901234567",
    ];
    for number in drawn.chain(unusual.map(str::to_owned)) {
        let expected = number.parse::<f64>().unwrap() as f32;
        let found = floats(&format!("[ {number},{number} ,\n 7]")).unwrap();
        let bits: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, [expected.to_bits(), expected.to_bits(), 7_f32.to_bits()], "{number}");
    }
}

#[test]
fn what_is_not_a_list_of_numbers_is_refused_and_a_text_may_be_one() {
    assert_eq!(floats("[]").unwrap(), Vec::<f32>::new());
    assert_eq!(floats(r#"["0.5", 1]"#).unwrap(), [0.5, 1.0]);
    for list in [
        "[1,]",
        "[,1]",
        "[1 2]",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[-]",
        r#"["x"]"#,
        "[1]]",
        "[1",
        "1",
        "{}",
        "[0000000a]",
        "[1234567:]",
        "[1,\u{b}2]",
    ] {
        assert!(floats(list).is_err(), "{list}");
    }
}

#[test]
fn what_stands_for_no_float_is_one_that_is_not_a_number() {
    for list in ["[null]", "[NaN]", "[-Infinity, 1]", r#"[null, "1"]"#] {
        assert!(floats(list).unwrap()[0].is_nan(), "{list}");
    }
    assert!(floats("null").unwrap().is_empty());
}

#[test]
fn a_list_that_resembles_the_index_of_another_is_read_as_itself() {
    let body = br#"{"a":[0.5,1],"b":[0],"c":[1],"d":"[0] \"[1]","e":[[2],[1234567890123456]],"f":[1e0]}"#;
    let mut answer = extract(body, LIMITS);
    let json = answer.json.clone();
    let left: std::collections::BTreeMap<&str, Numbers<'_>> = serde_json::from_slice(&json).unwrap();

    assert_eq!(answer.floats(&left["a"]).unwrap(), [0.5, 1.0]);
    assert_eq!(answer.floats(&left["b"]).unwrap(), [0.0]);
    assert_eq!(answer.floats(&left["c"]).unwrap(), [1.0]);
    assert_eq!(left["d"].raw().unwrap().get(), r#""[0] \"[1]""#);
    assert_eq!(left["e"].raw().unwrap().get(), "[[3],[1234567890123456]]");
    assert_eq!(answer.floats(&left["f"]).unwrap(), [1.0]);
    let huge: Numbers<'_> = serde_json::from_str("[1234567890123456]").unwrap();
    assert_eq!(answer.floats(&huge).unwrap(), [1_234_567_890_123_456.0_f64 as f32]);
}

#[test]
fn eight_digits_are_eight_digits_and_nothing_else() {
    assert_eq!(eight_digits(*b"12345678"), Some(12_345_678));
    assert_eq!(eight_digits(*b"00000000"), Some(0));
    for at in 0..8 {
        for byte in 0..=u8::MAX {
            let mut text = *b"90817263";
            text[at] = byte;
            let expected = std::str::from_utf8(&text)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .map(|text| text.parse().unwrap());
            assert_eq!(eight_digits(text), expected, "{text:?}");
        }
    }
}

#[test]
fn what_is_kept_is_bounded_by_what_was_asked_for_whatever_an_answer_holds() {
    let limits = ListLimits::of(5, 768);
    for list in ["[1]", "[0.5,1]", "[]", "[[1]]", "{\"values\":[1]}"] {
        let body = format!("[{list}{}]", format!(",{list}").repeat(50_000));

        let left = extract(body.as_bytes(), limits);
        let entries: Entries<&RawValue> = serde_json::from_slice(&left.json).unwrap();

        assert!(left.lists.len() <= 6, "{list}: {} lists", left.lists.len());
        assert!(left.lists.iter().all(|list| list.capacity() <= 2), "{list}: nothing is reserved");
        assert!(left.json.len() <= 2 * body.len(), "{list}");
        assert_eq!((entries.kept.len(), entries.count), (2049, 50_001), "{list}");
    }
}

#[test]
fn a_list_past_the_limits_is_counted_and_not_kept() {
    let long = format!("[{}1]", "0.5,".repeat(99_999));
    for list in [long.clone(), long.replacen("0.5", "5e-1", 1)] {
        let error = floats(&list).unwrap_err().to_string();
        assert!(error.contains("at most 4096 floats") && error.contains("found 100000"), "{error}");
    }
}

#[test]
fn lists_past_the_limit_are_read_where_they_stand() {
    let limits = ListLimits { lists: 1, floats: 10 };
    let mut answer = extract(br#"{"a":[7],"b":[0],"c":[0.5, 2],"d":[ 0 ]}"#, limits);
    let json = answer.json.clone();
    let left: std::collections::BTreeMap<&str, Numbers<'_>> = serde_json::from_slice(&json).unwrap();

    let found = ["a", "b", "c", "d"].map(|name| answer.floats(&left[name]).unwrap());

    assert_eq!(found, [vec![7.0], vec![0.0], vec![0.5, 2.0], vec![0.0]]);
}

proptest! {
    /// With every list put back in its place, the JSON has the same value as before.
    #[test]
    fn the_rest_is_json_if_the_answer_was_and_lacks_only_lists(
        text in r#"(\{|\}|\[|\]|,|:|"|\\|1|-|\.|e| |[0-9]{7,9}|"a":|\[0\.5,1\]|\\"|null){0,20}"#,
        lists in 0_usize..3,
    ) {
        let limits = ListLimits { lists, floats: 1 + lists };
        let left = extract(text.as_bytes(), limits);
        let whole: Result<Value, _> = serde_json::from_str(&text);
        let rest: Result<Value, _> = serde_json::from_slice(&left.json);

        prop_assert_eq!(whole.is_ok(), rest.is_ok(), "{}", text);
        if let (Ok(whole), Ok(rest)) = (whole, rest) {
            let mut left = left;
            prop_assert!(same(&whole, &rest, &mut left), "{} became {}", whole, rest);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let left = extract(&body, LIMITS);
        prop_assert!(left.json.len() <= 3 * body.len());
    }
}

fn same(whole: &Value, rest: &Value, left: &mut FloatLists) -> bool {
    match (whole, rest) {
        (Value::Array(one), Value::Array(_)) if one.iter().all(Value::is_number) && !one.is_empty() => {
            let text = rest.to_string();
            let numbers: Numbers<'_> = serde_json::from_str(&text).unwrap();
            let most = left.limits.floats;
            let found = left.floats(&numbers);
            if one.len() > most {
                return found.is_err();
            }
            found.unwrap() == one.iter().map(|x| x.as_f64().unwrap() as f32).collect::<Vec<_>>()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other, left))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|((key, one), (other_key, other))| key == other_key && same(one, other, left))
        }
        (one, other) => one == other,
    }
}
