//! Epochs allocate nothing: a thousand of them as often as one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use backprop_core::{train, Activation, Data, Network, Progress, Record, Settings, Start};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's allocator's; only a number is counted up before.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        System.dealloc(pointer, layout);
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(sizes: &[usize], epochs: usize) -> usize {
    let network = Network::new(sizes, Activation::Relu).unwrap();
    let (x, y) = (vec![1.0; sizes[0]], [3.0]);
    let data = Data::new(&network, &x, &y).unwrap();
    let start = Start {
        weights: &vec![0.5; network.parameters()],
        learning_rate: &[1e-3],
    };
    let settings = Settings {
        epochs,
        threads: Some(1),
        record: Record {
            loss: false,
            prediction: false,
            gradients: false,
            weights: false,
        },
        ..Settings::default()
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    train(&network, &data, &start, &settings, &Progress::default()).unwrap();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn epochs_allocate_nothing() {
    for sizes in [&[1, 1, 1][..], &[2, 3, 1]] {
        let once = allocations(sizes, 100);
        assert!(once > 0, "allocations are counted");
        assert_eq!(allocations(sizes, 1_000), once);
    }
}
