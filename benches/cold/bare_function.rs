//! The function that `benches/cold` compares others with: Lambda's runtime and one client of DynamoDB, and nothing of
//! Rollcall. It reads one item before it asks for the first event, so that the connection is open, and reads that item
//! again for each event.
//!
//! The feature `bench` builds it, with the profile and the dependencies of the deployed functions.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let credentials = Credentials::new(
        std::env::var("AWS_ACCESS_KEY_ID")?,
        std::env::var("AWS_SECRET_ACCESS_KEY")?,
        std::env::var("AWS_SESSION_TOKEN").ok(),
        None,
        "environment",
    );
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(std::env::var("AWS_REGION")?))
        .endpoint_url(std::env::var("AWS_ENDPOINT_URL_DYNAMODB")?)
        .credentials_provider(credentials)
        .build();
    let client = &Client::from_conf(config);
    let table = &std::env::var("ROLLCALL_TABLE")?;
    read_item(client, table).await?;
    run(service_fn(|_: LambdaEvent<Value>| async move {
        let document = read_item(client, table).await?;
        let headers = json!({ "content-type": "application/scim+json" });
        Ok::<_, Error>(json!({ "statusCode": 200, "headers": headers, "body": document }))
    }))
    .await
}

/// The document in the item that the benchmark has made.
async fn read_item(client: &Client, table: &str) -> Result<String, Error> {
    let key = || AttributeValue::S("BARE".to_owned());
    let read = client.get_item().table_name(table).key("pk", key()).key("sk", key()).send().await?;
    let document = read.item.as_ref().and_then(|item| item.get("doc")).and_then(|value| value.as_s().ok());
    Ok(document.ok_or("there is no item")?.clone())
}
