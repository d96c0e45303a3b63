//! A call of DynamoDB by the SDK, made of the JSON that it sends.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::batch_get_item::builders::BatchGetItemFluentBuilder;
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_get_items::builders::TransactGetItemsFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Get, KeysAndAttributes, Put, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, TransactGetItem, TransactWriteItem, Update,
};
use base64::Engine as _;
use serde_json::Value;

/// A call that is ready to be sent.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)]
pub enum BareCall {
    /// `GetItem`.
    Get(GetItemFluentBuilder),
    /// `BatchGetItem`.
    Batch(BatchGetItemFluentBuilder),
    /// `Query`.
    Query(QueryFluentBuilder),
    /// `TransactGetItems`.
    Together(TransactGetItemsFluentBuilder),
    /// `PutItem`.
    Put(PutItemFluentBuilder),
    /// `TransactWriteItems`, with a token of its own.
    Write(TransactWriteItemsFluentBuilder),
}

impl BareCall {
    /// Makes the call that has this body.
    pub fn new(client: &Client, operation: &str, body: Value) -> Self {
        let capacity = body["ReturnConsumedCapacity"].as_str().map(ReturnConsumedCapacity::from);
        match operation {
            "GetItem" => Self::Get(
                client
                    .get_item()
                    .set_table_name(text(&body["TableName"]))
                    .set_key(item(&body["Key"]))
                    .set_consistent_read(body["ConsistentRead"].as_bool())
                    .set_projection_expression(text(&body["ProjectionExpression"]))
                    .set_expression_attribute_names(names(&body))
                    .set_return_consumed_capacity(capacity),
            ),
            "BatchGetItem" => {
                let tables = body["RequestItems"].as_object().expect("tables");
                let tables = tables.iter().map(|(table, wanted)| (table.clone(), keys(wanted))).collect();
                let batch = client.batch_get_item().set_request_items(Some(tables));
                Self::Batch(batch.set_return_consumed_capacity(capacity))
            }
            "Query" => Self::Query(
                client
                    .query()
                    .set_table_name(text(&body["TableName"]))
                    .set_key_condition_expression(text(&body["KeyConditionExpression"]))
                    .set_filter_expression(text(&body["FilterExpression"]))
                    .set_projection_expression(text(&body["ProjectionExpression"]))
                    .set_expression_attribute_names(names(&body))
                    .set_expression_attribute_values(item(&body["ExpressionAttributeValues"]))
                    .set_exclusive_start_key(item(&body["ExclusiveStartKey"]))
                    .set_consistent_read(body["ConsistentRead"].as_bool())
                    .set_scan_index_forward(body["ScanIndexForward"].as_bool())
                    .set_limit(body["Limit"].as_i64().map(|limit| i32::try_from(limit).expect("a limit")))
                    .set_select(body["Select"].as_str().map(Into::into))
                    .set_return_consumed_capacity(capacity),
            ),
            "TransactGetItems" => {
                let gets = list(&body["TransactItems"]).map(|one| get(&one["Get"])).collect();
                let together = client.transact_get_items().set_transact_items(Some(gets));
                Self::Together(together.set_return_consumed_capacity(capacity))
            }
            "TransactWriteItems" => {
                let writes = list(&body["TransactItems"]).map(write).collect();
                let transaction = client.transact_write_items().set_transact_items(Some(writes));
                Self::Write(transaction.set_return_consumed_capacity(capacity))
            }
            "PutItem" => Self::Put(
                client
                    .put_item()
                    .set_table_name(text(&body["TableName"]))
                    .set_item(item(&body["Item"]))
                    .set_condition_expression(text(&body["ConditionExpression"]))
                    .set_expression_attribute_names(names(&body))
                    .set_expression_attribute_values(item(&body["ExpressionAttributeValues"]))
                    .set_return_consumed_capacity(capacity),
            ),
            other => unreachable!("nothing makes {other} here"),
        }
    }

    /// Makes its values anew and sends it. A copy is the least that it takes to make them.
    pub async fn make_and_send(&self) {
        self.clone().send().await;
    }

    /// Sends it. It must succeed, so that it costs what it cost the function.
    pub async fn send(self) {
        match self {
            Self::Get(call) => drop(call.send().await.expect("an item")),
            Self::Batch(call) => drop(call.send().await.expect("items")),
            Self::Query(call) => drop(call.send().await.expect("a page")),
            Self::Together(call) => drop(call.send().await.expect("items")),
            Self::Put(call) => drop(call.send().await.expect("a put")),
            Self::Write(call) => drop(call.send().await.expect("a transaction")),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn names(body: &Value) -> Option<HashMap<String, String>> {
    let names = body["ExpressionAttributeNames"].as_object()?;
    Some(names.iter().map(|(name, of)| (name.clone(), text(of).expect("a name"))).collect())
}

fn item(value: &Value) -> Option<HashMap<String, AttributeValue>> {
    Some(value.as_object()?.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().and_then(|one| one.iter().next()).expect("a value");
    let texts = || list(value).map(|one| text(one).expect("a text")).collect();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value).expect("a text")),
        "N" => AttributeValue::N(text(value).expect("a number")),
        "BOOL" => AttributeValue::Bool(value == true),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts()),
        "NS" => AttributeValue::Ns(texts()),
        "L" => AttributeValue::L(list(value).map(attribute).collect()),
        "M" => AttributeValue::M(item(value).expect("a map")),
        "B" => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().expect("a text"));
            AttributeValue::B(Blob::new(bytes.expect("bytes")))
        }
        other => unreachable!("no value is of the type {other} here"),
    }
}

fn keys(wanted: &Value) -> KeysAndAttributes {
    KeysAndAttributes::builder()
        .set_keys(Some(list(&wanted["Keys"]).map(|key| item(key).expect("a key")).collect()))
        .set_consistent_read(wanted["ConsistentRead"].as_bool())
        .set_projection_expression(text(&wanted["ProjectionExpression"]))
        .set_expression_attribute_names(names(wanted))
        .build()
        .expect("keys")
}

fn get(body: &Value) -> TransactGetItem {
    let get = Get::builder()
        .set_table_name(text(&body["TableName"]))
        .set_key(item(&body["Key"]))
        .set_projection_expression(text(&body["ProjectionExpression"]))
        .set_expression_attribute_names(names(body));
    TransactGetItem::builder().get(get.build().expect("a read")).build()
}

/// Sets what all four kinds of writes have in common.
macro_rules! of_body {
    ($builder:expr, $body:expr) => {
        $builder
            .set_table_name(text(&$body["TableName"]))
            .set_condition_expression(text(&$body["ConditionExpression"]))
            .set_expression_attribute_names(names($body))
            .set_expression_attribute_values(item(&$body["ExpressionAttributeValues"]))
            .set_return_values_on_condition_check_failure(
                $body["ReturnValuesOnConditionCheckFailure"]
                    .as_str()
                    .map(ReturnValuesOnConditionCheckFailure::from),
            )
    };
}

fn write(one: &Value) -> TransactWriteItem {
    let (kind, body) = one.as_object().and_then(|one| one.iter().next()).expect("a write");
    let whole = TransactWriteItem::builder();
    let key = || item(&body["Key"]);
    match kind.as_str() {
        "Put" => {
            whole.put(of_body!(Put::builder().set_item(item(&body["Item"])), body).build().expect("a put"))
        }
        "Delete" => {
            whole.delete(of_body!(Delete::builder().set_key(key()), body).build().expect("a deletion"))
        }
        "Update" => {
            let update = Update::builder().set_key(key());
            let update = update.set_update_expression(text(&body["UpdateExpression"]));
            whole.update(of_body!(update, body).build().expect("an update"))
        }
        "ConditionCheck" => whole.condition_check(
            of_body!(ConditionCheck::builder().set_key(key()), body).build().expect("a check"),
        ),
        other => unreachable!("a transaction has no {other}"),
    }
    .build()
}
