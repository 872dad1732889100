use event_bus::{
    EntityCreatedEto, EntityDeletedEto, EntityEto as _, EntityUpdatedEto, GetSnapshotPage,
    SnapshotPage,
};
use event_contracts::identity::UserEto;

use crate::CUSTOMER;
use crate::shape::{check, check_request};

fn user() -> UserEto {
    UserEto {
        id: CUSTOMER,
        user_name: "alice".to_owned(),
        name: Some("Alice".to_owned()),
        surname: Some("Arden".to_owned()),
        email: "alice@example.com".to_owned(),
        phone_number: Some("+44 20 7946 0018".to_owned()),
        is_active: true,
        roles: vec!["customer".to_owned()],
        version: 2,
    }
}

#[test]
fn identity_messages_keep_their_shape() {
    check(&EntityCreatedEto { entity: user() });
    check(&EntityUpdatedEto { entity: user() });
    check(&EntityDeletedEto { entity: user() });
    let page = SnapshotPage {
        version: UserEto::VERSION,
        entities: vec![user()],
        next: None,
    };
    check_request(&GetSnapshotPage::after(None), &page);
}

#[test]
fn a_user_without_a_name_is_displayed_by_the_user_name() {
    let nameless = UserEto {
        name: None,
        surname: None,
        ..user()
    };
    assert_eq!(nameless.display_name(), "alice");
    assert_eq!(user().display_name(), "Alice Arden");
}
