use super::*;

fn fault(body: &[u8]) -> Option<JsonFault> {
    check(body).err().map(|error| error.fault)
}

#[test]
fn what_json_allows_is_accepted() {
    let bodies: [&[u8]; 14] = [
        b"{}",
        b"[]",
        b" \t\r\n1 ",
        b"null",
        b"true",
        b"false",
        b"-0",
        b"0.5e-3",
        b"\"\"",
        b"[1,[2,{}],\"x\"]",
        br#"{"a":{"b":[1,2]},"c":null}"#,
        b"1e308",
        br#""\ud83d\ude00""#,
        "\"\u{7f}\u{e9}\u{1F600}\"".as_bytes(),
    ];
    for body in bodies {
        assert_eq!(check(body), Ok(()), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn each_mistake_has_its_name() {
    let table: [(&[u8], JsonFault); 32] = [
        (b"", JsonFault::EndsEarly),
        (b"  ", JsonFault::EndsEarly),
        (b"{", JsonFault::EndsEarly),
        (b"[1", JsonFault::EndsEarly),
        (b"\"abc", JsonFault::EndsEarly),
        (b"tru", JsonFault::EndsEarly),
        (b"trux", JsonFault::NoValue),
        (b"\xEF\xBB\xBF{}", JsonFault::NoValue),
        (b"nul1", JsonFault::NoValue),
        (b"[1,]", JsonFault::NoValue),
        (b"[,1]", JsonFault::NoValue),
        (b"{\"a\":1,}", JsonFault::NoKey),
        (b"{a:1}", JsonFault::NoKey),
        (b"{\"a\" 1}", JsonFault::NoColon),
        (b"{\"a\":1 \"b\":2}", JsonFault::NoComma),
        (b"[1 2]", JsonFault::NoComma),
        (b"[1}", JsonFault::NoComma),
        (b"{} {}", JsonFault::Trailing),
        (b"\"a\nb\"", JsonFault::Control),
        (b"\"\\x\"", JsonFault::Escape),
        (b"\"\\u12g4\"", JsonFault::Escape),
        (b"\"\\ud800\"", JsonFault::Escape),
        (b"\"\\udc00\"", JsonFault::Escape),
        (b"\"\\ud800\\u0041\"", JsonFault::Escape),
        (b"01", JsonFault::Number),
        (b"-", JsonFault::EndsEarly),
        (b"1.", JsonFault::EndsEarly),
        (b"1.x", JsonFault::Number),
        (b"1e+x", JsonFault::Number),
        (b"1e999", JsonFault::Range),
        (b"\"\xff\"", JsonFault::NotUtf8),
        (b"NaN", JsonFault::NoValue),
    ];
    for (body, expected) in table {
        assert_eq!(fault(body), Some(expected), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_key_that_comes_twice_is_refused_at_every_depth() {
    let bodies: [&[u8]; 6] = [
        br#"{"a":1,"a":2}"#,
        br#"{"a":1,"\u0061":2}"#,
        br#"{"\u0061":1,"a":2}"#,
        br#"[{"x":{"b":1,"c":2,"b":3}}]"#,
        br#"{"":1,"":2}"#,
        br#"{"a\/b":1,"a/b":2}"#,
    ];
    for body in bodies {
        assert_eq!(fault(body), Some(JsonFault::Duplicate), "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(check(br#"{"a":{"a":1},"b":{"a":{"a":2}}}"#), Ok(()));
}

#[test]
fn a_key_that_comes_twice_in_a_wide_object_is_refused() {
    for width in [2_usize, 31, 32, 33, 34, 1000] {
        let members: Vec<String> = (0..width).map(|n| format!("\"k{n}\":{n}")).collect();
        let good = format!("{{{}}}", members.join(","));
        let bad = format!("{{{},\"k\\u0030\":0}}", members.join(","));

        assert_eq!(check(good.as_bytes()), Ok(()), "{width}");
        let error = check(bad.as_bytes()).expect_err("k0 comes twice");
        assert_eq!(error.fault, JsonFault::Duplicate, "{width}");
        assert_eq!(error.at, bad.len() - "k\\u0030\":0}".len(), "{width}");
    }
}

#[test]
fn nesting_stops_where_serde_json_stops() {
    for depth in [126_usize, 127, 128, 129] {
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let theirs = serde_json::from_str::<serde_json::Value>(&body).is_ok();
        assert_eq!(check(body.as_bytes()).is_ok(), theirs, "{depth}");
        assert_eq!(theirs, depth <= MAX_DEPTH);
    }
}

#[test]
fn an_error_says_where_and_what_to_do() {
    let error = check(b"{\"a\":1,}").expect_err("a trailing comma is no JSON");

    assert_eq!(error.at, 7);
    assert!(error.to_string().contains("trailing comma"), "{error}");
    assert!(error.to_string().contains("byte 7"), "{error}");
}
