//! Rollcall's core beside other crates, on the same inputs, in the same run: prints a Markdown table of ratios.
//!
//! The crates take turns in short rounds, so that other work of the machine slows all of them down alike. The tenth
//! percentile counts.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rollcall::scim::document_rules::check_required;
use rollcall::scim::filter::bind::{Bound, bind};
use rollcall::scim::filter::parse::parse;
use rollcall::scim::patch::apply::apply;
use rollcall::scim::patch::request;
use rollcall::scim::policy::STANDARD;
use rollcall::scim::projection::Projection;
use rollcall::scim::resource_type::{Kind, Model};
use rollcall::scim::validate::read;
use rollcall::scim::work::WorkBudget;
use scim_v2::filter::Filter;
use scim_v2::models::others::PatchOp;
use scim_v2::models::user::User;
use scim_v2::{CreateRequest, Strict};
use serde_json::{Map, Value};

const ROUNDS: usize = 300;
const ROUND: Duration = Duration::from_millis(2);

const SIMPLE: &str = "userName eq \"bjensen@example.com\"";
const COMPLEX: &str = "userType eq \"Employee\" and (emails co \"example.com\" or emails.value co \"example.org\") \
    and not (active eq false) and emails[type eq \"work\" and value ew \"@example.com\"]";
/// Without brackets, which not every rival evaluates.
const EVALUATED: &str =
    "userType eq \"Employee\" and (displayName co \"Babs\" or nickName sw \"B\") and not (active eq false)";

const USER: &str = r#"{
  "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
  "externalId": "701984", "userName": "bjensen@example.com", "userType": "Employee",
  "name": { "formatted": "Ms. Barbara J Jensen, III", "familyName": "Jensen", "givenName": "Barbara" },
  "displayName": "Babs Jensen", "nickName": "Babs", "title": "Tour Guide", "locale": "en-US", "active": true,
  "emails": [
    { "value": "bjensen@example.com", "type": "work", "primary": true },
    { "value": "babs@jensen.org", "type": "home" }
  ],
  "phoneNumbers": [{ "value": "555-555-5555", "type": "work" }],
  "addresses": [{ "type": "work", "streetAddress": "100 Universal City Plaza", "locality": "Hollywood", "country": "US" }],
  "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
    "employeeNumber": "701984", "department": "Tour Operations", "manager": { "value": "26118915-6090-4610-87e4-49d8ca9f808d" }
  }
}"#;
const PATCH: &str = r#"{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
  "Operations": [
    { "op": "replace", "path": "active", "value": false },
    { "op": "replace", "path": "name.familyName", "value": "Smith" },
    { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "bsmith@example.com" }
  ]
}"#;

type Work<'a> = Box<dyn FnMut() + 'a>;

/// One row: the same work by each of those who can do it.
struct Row<'a> {
    what: &'static str,
    own: Work<'a>,
    rivals: [Option<Work<'a>>; 2],
}

/// How long a work takes, in seconds, over one round.
fn round(work: &mut Work<'_>) -> f64 {
    let began = Instant::now();
    let mut times = 0_u32;
    while began.elapsed() < ROUND {
        for _ in 0..8 {
            work();
        }
        times += 8;
    }
    began.elapsed().as_secs_f64() / f64::from(times)
}

fn undisturbed(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

/// Whether a filter selects a user, within what one request may compute.
fn selects(bound: &Bound, user: &Map<String, Value>) -> bool {
    bound.matches(user, &WorkBudget::of_query()).expect("little work")
}

fn main() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let users = model.of(Kind::User);
    let user: Value = serde_json::from_str(USER).expect("a user");
    let object: Map<String, Value> = serde_json::from_str(USER).expect("a user");
    let everyone = vec![user.clone(); 100];
    let projection = Projection::parse(&["userName,emails.value,name"], &[], &[users]).expect("a projection");

    let filter = |text: &'static str| Row {
        what: if text == SIMPLE { "parse a simple filter" } else { "parse a complex filter" },
        own: Box::new(move || drop(black_box(parse(black_box(text)).expect("a filter")))),
        rivals: [
            Some(Box::new(move || {
                black_box(scim_filter::parser::filter(black_box(text)).expect("a filter"));
            })),
            Some(Box::new(move || drop(black_box(black_box(text).parse::<Filter>().expect("a filter"))))),
        ],
    };
    let select = |what, text: &'static str| Row {
        what,
        own: {
            let everyone = &everyone;
            Box::new(move || {
                let bound =
                    bind(&parse(black_box(text)).expect("a filter"), users, &[], false).expect("a filter");
                let found =
                    everyone.iter().filter(|user| selects(&bound, user.as_object().expect("an object")));
                assert_eq!(black_box(found.count()), 100);
            })
        },
        rivals: [
            {
                let everyone = &everyone;
                Some(Box::new(move || {
                    let found = scim_filter::scim_filter(black_box(text), everyone).expect("a filter");
                    assert_eq!(black_box(found.len()), 100);
                }))
            },
            None,
        ],
    };
    let mut rows = vec![
        filter(SIMPLE),
        filter(COMPLEX),
        select("select among 100 users, simple filter", SIMPLE),
        select("select among 100 users, complex filter", EVALUATED),
        Row {
            what: "read a PATCH of three operations",
            own: Box::new(|| {
                let body = serde_json::from_str(black_box(PATCH)).expect("JSON");
                drop(black_box(request::parse(&body, users, &STANDARD, &WorkBudget::of_body()).expect("steps")));
            }),
            rivals: [
                None,
                Some(Box::new(|| {
                    drop(black_box(serde_json::from_str::<PatchOp>(black_box(PATCH)).expect("a PATCH")))
                })),
            ],
        },
        Row {
            what: "read it and apply it",
            own: Box::new(|| {
                let body = serde_json::from_str(black_box(PATCH)).expect("JSON");
                let mut after = object.clone();
                let steps = request::parse(&body, users, &STANDARD, &WorkBudget::of_body()).expect("steps");
                apply(&mut after, &steps, users, &STANDARD, &WorkBudget::of_body()).expect("a change");
                drop(black_box(after));
            }),
            rivals: [None, None],
        },
        Row {
            what: "read and validate a user",
            own: Box::new(|| {
                let body = serde_json::from_str(black_box(USER)).expect("JSON");
                let document = read(&body, users, &STANDARD, &WorkBudget::of_body()).expect("a user");
                check_required(&document, users).expect("a whole user");
                drop(black_box(document));
            }),
            rivals: [
                None,
                Some(Box::new(|| {
                    let read = serde_json::from_str::<Strict<User<String>, CreateRequest>>(black_box(USER));
                    drop(black_box(read.expect("a user").into_valid()));
                })),
            ],
        },
        Row {
            what: "project a user onto three attributes",
            own: Box::new(|| {
                let mut answer = object.clone();
                projection.apply(&mut answer, users);
                drop(black_box(answer));
            }),
            rivals: [None, None],
        },
    ];

    println!("| | Rollcall | scim-filter 0.2.3 | scim_v2 1.0.0 | (Rollcall here) |");
    println!("| --- | --- | --- | --- | --- |");
    for row in &mut rows {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            times[0].push(round(&mut row.own));
            for (rival, times) in row.rivals.iter_mut().zip(&mut times[1..]) {
                times.extend(rival.as_mut().map(round));
            }
        }
        let [own, first, second] = times;
        let own = undisturbed(own);
        let ratio = |times: Vec<f64>| match times.is_empty() {
            true => "cannot".to_owned(),
            false => {
                let ratio = undisturbed(times) / own;
                if ratio < 1.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
            }
        };
        println!("| {} | 1 | {} | {} | {:.1} µs |", row.what, ratio(first), ratio(second), own * 1e6);
    }
}
