use cofferdam_domain::{CredentialSlot, Timestamp};
use cofferdam_vault::Secret;
use http::{HeaderValue, Method};

use super::*;
use crate::gate::attach;

const KEYS: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// Of the examples in the documentation of S3.
const S3_KEYS: &str = "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

struct Case<'a> {
    slot: &'a str,
    credential: &'a str,
    time: &'a str,
    method: Method,
    url: &'a str,
    headers: &'a [(&'static str, &'static str)],
    body: &'a str,
}

/// What leaves: the URL, the headers, and what is searched for in the answer.
struct Signed {
    url: Url,
    headers: HeaderMap,
    needles: Needles,
}

impl Signed {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn signature(&self) -> &str {
        let (_, signature) = self.header("authorization").split_once(", Signature=").unwrap();
        signature
    }

    fn signed_headers(&self) -> &str {
        let (_, rest) = self.header("authorization").split_once("SignedHeaders=").unwrap();
        rest.split_once(", ").unwrap().0
    }
}

fn signed(case: &Case<'_>) -> Result<Signed, Refusal> {
    let slot: CredentialSlot = case.slot.parse().unwrap();
    let mut url: Url = case.url.parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in case.headers {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    attach::fit(&slot, &headers, &mut url)?;
    let outbound = Outbound {
        method: &case.method,
        headers: &mut headers,
        url: &mut url,
        body: case.body.as_bytes(),
        message_id: "id",
        now: Timestamp::parse_rfc3339(case.time).unwrap(),
        signature: None,
    };
    let secret = Secret::new(case.credential.into()).unwrap();
    let needles = attach::attach(&slot, &secret, outbound)?;
    Ok(Signed { url, headers, needles })
}

/// A case of AWS's published suite for Signature Version 4: service `service` in `us-east-1`.
fn suite(url: &str) -> Case<'_> {
    Case {
        slot: "aws-sigv4 us-east-1 service",
        credential: KEYS,
        time: "2015-08-30T12:36:00Z",
        method: Method::GET,
        url,
        headers: &[],
        body: "",
    }
}

#[test]
fn it_signs_as_awss_published_suite_says() {
    let check = |case: &Case<'_>, signed_headers: &str, signature: &str| {
        let signed = signed(case).unwrap();
        assert_eq!(
            signed.header("authorization"),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={signed_headers}, Signature={signature}"
            ),
            "{}",
            case.url
        );
        assert_eq!(signed.header("x-amz-date"), "20150830T123600Z");
        assert_eq!(signed.header("x-amz-content-sha256"), "");
    };
    let host_and_date = "host;x-amz-date";
    // get-vanilla
    check(
        &suite("https://example.amazonaws.com/"),
        host_and_date,
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    // get-vanilla-query-order-key-case
    check(
        &suite("https://example.amazonaws.com/?Param2=value2&Param1=value1"),
        host_and_date,
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    // get-vanilla-utf8-query
    check(
        &suite("https://example.amazonaws.com/?%E1%88%B4=bar"),
        host_and_date,
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    );
    // get-unreserved
    check(
        &suite("https://example.amazonaws.com/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        host_and_date,
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    );
    // get-header-value-trim
    check(
        &Case {
            headers: &[("my-header1", "value1"), ("my-header2", "\"a   b   c\"")],
            ..suite("https://example.amazonaws.com/")
        },
        "host;my-header1;my-header2;x-amz-date",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
    // get-header-key-duplicate
    check(
        &Case {
            headers: &[
                ("my-header1", "value2"),
                ("my-header1", "value2"),
                ("my-header1", "value1"),
            ],
            ..suite("https://example.amazonaws.com/")
        },
        "host;my-header1;x-amz-date",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    );
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, each of its examples.
#[test]
fn it_signs_for_s3_as_its_documentation_says() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let check = |method, path: &str, headers, body, hash: &str, signature: &str| {
        let signed = signed(&Case {
            slot: "aws-sigv4 us-east-1 s3",
            credential: S3_KEYS,
            time: "2013-05-24T00:00:00Z",
            method,
            url: &format!("https://examplebucket.s3.amazonaws.com{path}"),
            headers,
            body,
        })
        .unwrap();
        assert_eq!(signed.signature(), signature, "{path}");
        assert_eq!(signed.header("x-amz-content-sha256"), hash, "{path}");
        signed
    };
    check(
        Method::GET,
        "/test.txt",
        &[("range", "bytes=0-9")][..],
        "",
        empty,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let put = check(
        Method::PUT,
        "/test$file.text",
        &[
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        "Welcome to Amazon S3.",
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    assert_eq!(put.url.path(), "/test%24file.text", "what is signed is what leaves");
    check(
        Method::GET,
        "/?lifecycle",
        &[],
        "",
        empty,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    check(
        Method::GET,
        "/?max-keys=2&prefix=J",
        &[],
        "",
        empty,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
}

#[test]
fn a_session_token_leaves_in_its_header_and_is_signed() {
    // get-vanilla-with-session-token
    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let of_suite = signed(&Case {
        credential: &format!("{KEYS}:{token}"),
        ..suite("https://example.amazonaws.com/")
    });
    assert_eq!(
        of_suite.unwrap().signature(),
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
    );
    let credential = format!("{KEYS}:AQoDYXdzEPT/token==");
    let signed = signed(&Case {
        credential: &credential,
        ..suite("https://example.amazonaws.com/")
    })
    .unwrap();
    assert_eq!(signed.header("x-amz-security-token"), "AQoDYXdzEPT/token==");
    assert_eq!(signed.signed_headers(), "host;x-amz-date;x-amz-security-token");
    for value in ["x-amz-security-token", "authorization"] {
        assert!(signed.headers[value].is_sensitive(), "{value}");
    }
    // The whole, the secret key, the token, and the key of the day that follows from them.
    let key = v4::generate_signing_key(
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160),
        "us-east-1",
        "service",
    );
    for needle in [
        credential.as_bytes(),
        b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        b"AQoDYXdzEPT/token==",
        key.as_ref(),
    ] {
        assert!(signed.needles.iter().any(|known| known.as_slice() == needle));
    }
}

#[test]
fn a_credential_is_read_as_text_or_as_aws_prints_it() {
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let sign = |credential: &str| {
        signed(&Case {
            credential,
            ..suite("https://example.amazonaws.com/")
        })
    };
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    for credential in [
        KEYS.to_owned(),
        format!(r#"{{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "{secret}", "Expiration": "x"}}"#),
        format!("\n {{\"AWS_ACCESS_KEY_ID\": \"AKIDEXAMPLE\", \"AWS_SECRET_ACCESS_KEY\": \"{secret}\"}}\n"),
        format!(r#"{{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "{secret}", "session_token": null}}"#),
    ] {
        assert_eq!(sign(&credential).unwrap().signature(), vanilla, "{credential}");
    }
    let long = "A".repeat(ACCESS_KEY_ID_BYTES_MAX);
    assert!(sign(&format!("{long}:s")).is_ok());
    let mut said = std::collections::BTreeSet::new();
    for credential in [
        "no-colon",
        ":",
        "id:",
        ":secret",
        "id:secret:",
        "id:secret\n",
        "i d:secret",
        "id/x:secret",
        "id,x:secret",
        "id:sécret",
        &format!("{long}A:s"),
        "{}",
        "{\"AccessKeyId\": \"id\"}",
        "{\"AccessKeyId\": 1, \"SecretAccessKey\": \"s\"}",
        "{\"AccessKeyId\": \"id\", \"SecretAccessKey\": \"s\"",
        "[]",
    ] {
        let Err(refusal) = sign(credential) else {
            panic!("{credential} is usable");
        };
        assert_eq!(refusal.code, RefusalCode::CredentialUnusable, "{credential}");
        // One sentence for all of them: nothing of the credential is in it.
        assert!(
            refusal
                .message
                .starts_with("a credential for AWS Signature Version 4 is `ACCESS_KEY_ID:SECRET")
        );
        assert!(refusal.message.ends_with("SecretAccessKey and SessionToken"));
        said.insert(refusal.message);
    }
    assert_eq!(said.len(), 1);
}

#[test]
fn a_request_that_has_no_single_canonical_form_is_refused_before_it_is_signed() {
    let check = |slot: &str, url: &str, headers, expected: Option<RefusalCode>| {
        let case = Case {
            slot,
            headers,
            ..suite(url)
        };
        assert_eq!(
            signed(&case).err().map(|refusal| refusal.code),
            expected,
            "{slot} {url}"
        );
    };
    let (any, s3) = ("aws-sigv4 us-east-1 sqs", "aws-sigv4 us-east-1 s3");
    for slot in [any, s3] {
        check(slot, "https://h.test/?a=b+c", &[], Some(RefusalCode::BadQuery));
        check(slot, "https://h.test/?a=b%20c%2B", &[], None);
        check(slot, "https://h.test/?a=%ff", &[], Some(RefusalCode::BadQuery));
        check(slot, "https://h.test/?a=%E1%88%B4", &[], None);
        check(
            slot,
            "https://h.test/",
            &[("x-amz-meta-a", "é")][..],
            Some(RefusalCode::BadHeader),
        );
        check(slot, "https://h.test/", &[("x-amz-meta-a", "e")], None);
    }
    check(any, "https://h.test/a%2Fb", &[], None);
    check(s3, "https://h.test/a%2Fb", &[], Some(RefusalCode::BadPath));
    check(s3, "https://h.test/a%2fb", &[], Some(RefusalCode::BadPath));
    check(s3, "https://h.test/a/b", &[], None);
}

#[test]
fn a_path_for_s3_leaves_in_the_one_form_that_s3_computes_and_others_leave_as_they_are() {
    let check = |slot: &str, path: &str, expected: &str| {
        let case = Case { slot, ..suite(path) };
        assert_eq!(signed(&case).unwrap().url.as_str(), expected, "{slot}");
    };
    check(
        "aws-sigv4 us-east-1 s3",
        "https://h.test/a:b@(c)!*',;=&$%7e%41%e1%88%b4%20/d",
        "https://h.test/a%3Ab%40%28c%29%21%2A%27%2C%3B%3D%26%24~A%E1%88%B4%20/d",
    );
    check(
        "aws-sigv4 us-east-1 sqs",
        "https://h.test/a:b%41",
        "https://h.test/a:b%41",
    );
}

#[test]
fn what_others_may_change_on_the_way_is_not_signed() {
    let signed = signed(&Case {
        headers: &[
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("user-agent", "guest/1"),
            ("x-amzn-trace-id", "Root=1"),
            ("content-type", "text/plain"),
            ("idempotency-key", "k"),
        ],
        ..suite("https://example.amazonaws.com:8443/")
    })
    .unwrap();
    assert_eq!(signed.signed_headers(), "content-type;host;idempotency-key;x-amz-date");
    assert_eq!(signed.header("user-agent"), "guest/1", "not signed, and not taken away");
}

#[test]
fn the_services_that_ask_for_it_get_the_bodys_hash_in_a_header() {
    for (service, expected) in [
        ("s3", true),
        ("aoss", true),
        ("glacier", true),
        ("sqs", false),
        ("es", false),
    ] {
        let slot = format!("aws-sigv4 us-east-1 {service}");
        let case = Case {
            slot: &slot,
            ..suite("https://h.test/")
        };
        let found = !signed(&case).unwrap().header("x-amz-content-sha256").is_empty();
        assert_eq!(found, expected, "{service}");
    }
}
