use super::*;

#[test]
fn only_a_tenants_name_is_a_tenant() {
    for good in ["ab", "acme", "a-1", "a123456789012345678901234567890"] {
        assert!(good.parse::<TenantId>().is_ok(), "{good}");
    }
    for bad in ["", "a", "Acme", "1a", "-a", "a#b", "a b", "ä1", "a1234567890123456789012345678901"] {
        assert_eq!(bad.parse::<TenantId>(), Err(NotATenant), "{bad}");
    }
}

#[test]
fn accounts_that_are_to_be_erased_stand_in_the_order_of_time() {
    let tenant: TenantId = "acme".parse().expect("a tenant");
    let id = Uuid::from_u128(7);
    let (early, late) = (expiry(&tenant, 999, id), expiry(&tenant, 1_000, id));
    assert!(early.sk < late.sk && early.pk == late.pk);
    assert!(early.sk < expiry_until(999) && late.sk > expiry_until(999));
    assert_eq!(parse_expiry(&late.sk), Some(Expiry { tenant, id, kept_until: 1_000 }));
    assert_eq!(parse_expiry("x"), None);
}

#[test]
fn an_id_has_one_form() {
    let text = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(parse_id(text).map(|id| id.to_string()).as_deref(), Some(text));
    let upper = text.to_uppercase();
    let plain = text.replace('-', "");
    for other in ["", "x", &upper, &plain, "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5d#ac96"] {
        assert_eq!(parse_id(other), None, "{other}");
    }
}
