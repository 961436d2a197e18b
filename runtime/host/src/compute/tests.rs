use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use super::*;

fn compute() -> Compute {
    Compute::with_threads(1, || {}).unwrap()
}

fn thread() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// Uses the processor for longer than the executor allows.
fn use_it_up() {
    let began = Instant::now();
    while began.elapsed() <= EXECUTOR_MAX {
        std::hint::spin_loop();
    }
}

#[tokio::test]
async fn a_call_that_waits_and_does_not_compute_stays_on_the_executor() {
    let (compute, weight, meter) = (compute(), LaneWeight::new(), Meter::new());
    let here = thread();
    let call = async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        thread()
    };
    assert_eq!(compute.carry(&weight, &meter, Box::pin(call)).await, here);
    assert_eq!((meter.has_moved(), compute.usage().moved), (false, 0));
}

#[tokio::test]
async fn a_call_that_computes_is_moved_and_its_timers_are_still_the_executors() {
    let (compute, weight, meter) = (compute(), LaneWeight::new(), Meter::new());
    let here = thread();
    let call = async {
        let first = thread();
        use_it_up();
        tokio::task::yield_now().await;
        let second = thread();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let spawned = tokio::spawn(async { thread() }).await.unwrap();
        (first, second, thread(), spawned)
    };
    let guest = "cofferdam-guest".to_owned();
    assert_eq!(
        compute.carry(&weight, &meter, Box::pin(call)).await,
        (here.clone(), guest.clone(), guest.clone(), here)
    );
    assert!(meter.finished() >= EXECUTOR_MAX);
    assert!(weight.is_heavy(), "the next one need not be found out");
    assert_eq!(
        compute
            .carry(&weight, &Meter::new(), Box::pin(async { thread() }))
            .await,
        guest
    );
}

/// Says when it is dropped, and where.
struct Dropped(Option<oneshot::Sender<String>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.take().unwrap().send(thread()).unwrap();
    }
}

#[tokio::test]
async fn a_moved_call_that_is_given_up_is_taken_down_where_it_computed() {
    let (compute, weight, meter) = (compute(), LaneWeight::new(), Meter::new());
    weight.note_moved();
    let (tell, dropped) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let holds = Dropped(Some(tell));
    let call = Box::pin(async move {
        let _holds = holds;
        begun.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let call = compute.carry(&weight, &meter, call);
    tokio::select! {
        () = call => panic!("it never ends"),
        begun = has_begun => begun.unwrap(),
    }
    assert_eq!(dropped.await.unwrap(), "cofferdam-guest");
}

#[tokio::test]
async fn a_moved_call_that_panics_is_told_to_whoever_waits_for_it_and_the_next_is_served() {
    let (compute, weight) = (Arc::new(compute()), Arc::new(LaneWeight::new()));
    weight.note_moved();
    let (theirs, lane) = (Arc::clone(&compute), Arc::clone(&weight));
    let panics = tokio::spawn(async move {
        theirs
            .carry(&lane, &Meter::new(), Box::pin(async { panic!("on purpose") }))
            .await;
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(compute.carry(&weight, &Meter::new(), Box::pin(async { 7 })).await, 7);
}

#[tokio::test]
async fn one_that_comes_beside_one_that_computes_on_and_on_asks_for_a_tick_and_is_served() {
    let ticked = Arc::new(AtomicBool::new(false));
    let tick = Arc::clone(&ticked);
    let compute = Arc::new(Compute::with_threads(1, move || tick.store(true, Ordering::Relaxed)).unwrap());
    let (hog, other) = (Arc::new(LaneWeight::new()), LaneWeight::new());
    hog.note_moved();
    other.note_moved();
    let (theirs, seen) = (Arc::clone(&compute), Arc::clone(&ticked));
    let (begun, has_begun) = oneshot::channel();
    let hogging = tokio::spawn(async move {
        let meter = Meter::new();
        let inside = meter.clone();
        let pool = Arc::clone(&theirs);
        let lane = hog.lane;
        let work = async move {
            let mut begun = Some(begun);
            // As the epoch callback does: it looks when there was a tick.
            loop {
                if seen.swap(false, Ordering::Relaxed) && pool.gives_way(lane, &inside) {
                    return;
                }
                if inside.this_poll() > TURN_MIN
                    && let Some(begun) = begun.take()
                {
                    begun.send(()).unwrap();
                }
            }
        };
        theirs.carry(&hog, &meter, Box::pin(work)).await;
    });
    has_begun.await.unwrap();
    assert_eq!(compute.carry(&other, &Meter::new(), Box::pin(async { 7 })).await, 7);
    hogging.await.unwrap();
    assert!(compute.0.held_up_us.load(Ordering::Relaxed) > 0);
}
