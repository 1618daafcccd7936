//! Epochs allocate nothing: a thousand of them as often as one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use backprop_core::{train, Activation, Data, Machine, Network, Progress, Record, Settings, Start};

struct Counting;

thread_local! {
    /// Those of this thread: that of the test's harness allocates when it likes.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is the system's allocator's; only a number is counted up before, which
// needs no memory: it has neither a lazy start nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        System.dealloc(pointer, layout);
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(sizes: &[usize], epochs: usize, stop_when_converged: bool) -> usize {
    let network = Network::new(sizes, Activation::Relu).unwrap();
    let (x, y) = (vec![1.0; sizes[0]], [3.0]);
    let data = Data::new(&network, &x, &y).unwrap();
    let start = Start {
        weights: &vec![0.5; network.parameters()],
        learning_rate: &[1e-4],
        ..Start::default()
    };
    let settings = Settings {
        epochs,
        stop_when_converged,
        machine: Machine {
            threads: Some(1),
            ..Machine::default()
        },
        record: Record::of(&[]),
        ..Settings::default()
    };
    let before = ALLOCATIONS.get();
    let training = train(&network, &data, &start, &settings, &Progress::default()).unwrap();
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(training.epochs, [i64::try_from(epochs).unwrap()]);
    allocations
}

#[test]
fn epochs_allocate_nothing() {
    for sizes in [&[1, 1, 1][..], &[2, 3, 1]] {
        for stop_when_converged in [false, true] {
            let once = allocations(sizes, 100, stop_when_converged);
            assert!(once > 0, "allocations are counted");
            assert_eq!(allocations(sizes, 1_000, stop_when_converged), once);
        }
    }
}
