//! `eventually`: returns what was found, and tells what was seen last.

use std::time::Duration;

use sim_node::eventually;

#[test]
fn condition_that_comes_returns_what_was_found() {
    let mut looks = 0;
    let found = eventually("three looks", Duration::from_secs(20), || {
        looks += 1;
        if looks == 3 { Ok(looks) } else { Err(format!("{looks} looks")) }
    });
    assert_eq!(found.unwrap(), 3);
}

#[test]
fn condition_that_never_comes_tells_the_last_state() {
    let error = eventually("rain", Duration::ZERO, || Err::<(), _>("sunshine".to_owned())).unwrap_err();
    assert_eq!(format!("{error:?}"), "not within 0ns: rain; last state: sunshine");
}
