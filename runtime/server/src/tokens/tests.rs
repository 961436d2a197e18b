use std::fs;

use cofferdam_domain::{Digest, Timestamp};
use cofferdam_store::OpenOptions;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn open(dir: &Path) -> Tokens {
    Tokens::open(Store::open(&OpenOptions::new(dir)).unwrap()).unwrap()
}

fn workspace(name: &str) -> WorkspaceName {
    name.parse().unwrap()
}

async fn create(tokens: &Tokens, of: &str, role: Role) -> (String, TokenId) {
    let token = tokens.create("ann".into(), workspace(of), role).await.unwrap();
    let id = TokenHash::of(&token).id();
    (token, id)
}

#[tokio::test]
async fn a_token_and_its_revocation_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    let (kept, _) = create(&tokens, "a", Role::Admin).await;
    let (revoked, id) = create(&tokens, "a", Role::Viewer).await;
    assert_eq!(tokens.principal(&revoked).unwrap().role, Role::Viewer);
    let ended = tokens.revoke(&workspace("a"), id).await.unwrap();
    assert_eq!((ended.id, ended.role, ended.name.as_str()), (id, Role::Viewer, "ann"));
    assert!(tokens.principal(&revoked).is_none());
    drop(tokens);
    let tokens = open(dir.path());
    assert!(tokens.principal(&revoked).is_none());
    assert_eq!(tokens.principal(&kept).unwrap().role, Role::Admin);
    assert!(matches!(tokens.revoke(&workspace("a"), id).await, Err(TokenError::Unknown(unknown)) if unknown == id));
}

#[tokio::test]
async fn a_workspace_lists_and_revokes_its_own_tokens_only() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    let (admin, admin_id) = create(&tokens, "a", Role::Admin).await;
    let (ingest, ingest_id) = create(&tokens, "a", Role::Ingest).await;
    let (_, other_id) = create(&tokens, "b", Role::Viewer).await;
    let listed = tokens.of(&workspace("a"));
    assert!(listed.is_sorted_by_key(|info| info.created_at));
    let mut ids: Vec<_> = listed.iter().map(|info| info.id).collect();
    ids.sort();
    let mut expected = [admin_id, ingest_id];
    expected.sort();
    assert_eq!(ids, expected);
    let text = serde_json::to_string(&listed).unwrap();
    for token in [&admin, &ingest] {
        let hash = Digest::of(token.as_bytes()).to_string();
        assert!(!text.contains(token.as_str()) && !text.contains(&hash), "{text}");
    }
    assert!(matches!(
        tokens.revoke(&workspace("a"), other_id).await,
        Err(TokenError::Unknown(_))
    ));
    assert_eq!(tokens.of(&workspace("b"))[0].id, other_id);
    assert!(tokens.of(&workspace("c")).is_empty());
}

#[tokio::test]
async fn the_last_admin_token_of_a_workspace_stays() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    let (first, first_id) = create(&tokens, "a", Role::Admin).await;
    create(&tokens, "a", Role::Viewer).await;
    create(&tokens, "b", Role::Admin).await;
    assert!(matches!(
        tokens.revoke(&workspace("a"), first_id).await,
        Err(TokenError::LastAdmin(id)) if id == first_id
    ));
    assert!(tokens.principal(&first).is_some());
    let (_, second_id) = create(&tokens, "a", Role::Admin).await;
    tokens.revoke(&workspace("a"), first_id).await.unwrap();
    assert!(matches!(
        tokens.revoke(&workspace("a"), second_id).await,
        Err(TokenError::LastAdmin(_))
    ));
}

#[tokio::test]
async fn two_admin_tokens_revoked_at_once_leave_one() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, workspace) = (open(dir.path()), workspace("a"));
    let (_, first) = create(&tokens, "a", Role::Admin).await;
    let (_, second) = create(&tokens, "a", Role::Admin).await;
    let both = tokio::join!(tokens.revoke(&workspace, first), tokens.revoke(&workspace, second));
    let refused = [both.0, both.1]
        .into_iter()
        .filter(|revoked| matches!(revoked, Err(TokenError::LastAdmin(_))));
    assert_eq!(refused.count(), 1);
    assert_eq!(tokens.of(&workspace).len(), 1);
}

#[tokio::test]
async fn a_revocation_whose_caller_hangs_up_takes_effect_when_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, workspace) = (open(dir.path()), workspace("a"));
    create(&tokens, "a", Role::Admin).await;
    let (token, id) = create(&tokens, "a", Role::Viewer).await;
    {
        let mut revoke = std::pin::pin!(tokens.revoke(&workspace, id));
        std::future::poll_fn(|context| {
            let _under_way = revoke.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    // The next change waits for the one that was left alone.
    create(&tokens, "a", Role::Viewer).await;
    assert!(tokens.principal(&token).is_none());
    drop(tokens);
    assert!(open(dir.path()).principal(&token).is_none());
}

#[tokio::test]
async fn one_workspace_that_is_full_takes_no_room_from_another() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    let filled = Principal {
        name: "ann".into(),
        workspace: workspace("a"),
        role: Role::Viewer,
        created_at: Timestamp::ZERO,
    };
    let mut batch = Batch::new();
    for number in 0..TOKENS_MAX - 1 {
        batch.put(
            key(TokenHash::of(&number.to_string())),
            serde_json::to_vec(&filled).unwrap(),
        );
    }
    tokens.store.commit(batch).await.unwrap();
    drop(tokens);
    let tokens = open(dir.path());
    let refused = |made| matches!(made, Err(TokenError::Full));
    let (_, last) = create(&tokens, "a", Role::Viewer).await;
    assert!(refused(tokens.create("ann".into(), workspace("a"), Role::Viewer).await));
    create(&tokens, "b", Role::Admin).await;
    drop(tokens);
    let tokens = open(dir.path());
    assert_eq!(
        tokens.of(&workspace("a")).len(),
        TOKENS_MAX,
        "more than one page is read"
    );
    assert_eq!(tokens.of(&workspace("b")).len(), 1);
    tokens.revoke(&workspace("a"), last).await.unwrap();
    create(&tokens, "a", Role::Viewer).await;
}

#[test]
fn no_two_tokens_share_an_id() {
    let (mut once, mut again) = (StdRng::seed_from_u64(1), StdRng::seed_from_u64(1));
    let mut known = Known::new();
    let principal = Arc::new(Principal {
        name: "ann".into(),
        workspace: WorkspaceName::default(),
        role: Role::Viewer,
        created_at: Timestamp::ZERO,
    });
    let (taken, hash) = minted(&known, &mut once);
    known.insert(hash, principal);
    let (next, _) = minted(&known, &mut again);
    assert_ne!(next, taken);
    assert_eq!(
        next,
        hash::mint(&mut once),
        "the one that the taken id was drawn before"
    );
}

#[tokio::test]
async fn the_first_start_makes_one_admin_token_and_later_ones_none() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    let path = tokens.create_first(dir.path()).await.unwrap().unwrap();
    let token = fs::read_to_string(&path).unwrap();
    let principal = tokens.principal(token.trim()).unwrap();
    assert_eq!(
        (principal.role, &principal.workspace),
        (Role::Admin, &WorkspaceName::default())
    );
    drop(tokens);
    let tokens = open(dir.path());
    assert!(tokens.create_first(dir.path()).await.unwrap().is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), token);
}

#[tokio::test]
async fn a_first_token_whose_file_cannot_be_written_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("admin.token");
    fs::create_dir(&in_the_way).unwrap();
    let tokens = open(dir.path());
    assert!(matches!(
        tokens.create_first(dir.path()).await,
        Err(TokenError::File { path, .. }) if path == in_the_way
    ));
    drop(tokens);
    fs::remove_dir(&in_the_way).unwrap();
    let tokens = open(dir.path());
    assert!(
        tokens.create_first(dir.path()).await.unwrap().is_some(),
        "nobody is locked out"
    );
}

#[tokio::test]
async fn a_crash_between_file_and_store_is_mended_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = open(dir.path());
    tokens.store.close();
    assert!(matches!(
        tokens.create_first(dir.path()).await,
        Err(TokenError::Commit(_))
    ));
    let path = dir.path().join("admin.token");
    let useless = fs::read_to_string(&path).unwrap();
    drop(tokens);
    let tokens = open(dir.path());
    assert!(tokens.principal(useless.trim()).is_none());
    tokens.create_first(dir.path()).await.unwrap().unwrap();
    let token = fs::read_to_string(&path).unwrap();
    assert!(tokens.principal(token.trim()).is_some());
}
