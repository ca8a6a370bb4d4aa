//! From Python's arguments to a `Job`: numbers and arrays of any layout, broadcast as in NumPy.
//!
//! Arrays are read and written through their pointers while the interpreter is released. As with
//! NumPy's own functions, the result is a mixture if another thread writes to an argument meanwhile.
//! The references held here keep the arrays alive.

use numpy::npyffi::{
    NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE, NPY_TYPES, NpyTypes,
    PY_ARRAY_API, PyArray_CheckExact, PyArrayObject_fields, get_type_object, npy_intp,
};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use crate::error::KernelError;
use crate::fast::{Operand, Output, element_count};

/// The arguments in the order of the call.
pub(super) const NAMES: [&str; 5] = ["spot", "strike", "time", "rate", "volatility"];

const READABLE: i32 = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED;

/// One argument: a number, or an array of float64 in native byte order.
enum Argument<'py> {
    Scalar(f64),
    Array(Bound<'py, PyUntypedArray>),
}

/// The arguments of a call and the shape they broadcast to.
pub(super) struct Arguments<'py> {
    values: [Argument<'py>; 5],
    layout: Layout,
}

/// The shape of a call, and each argument's layout in it.
enum Layout {
    /// Every array is contiguous and has this shape.
    Same([usize; 1]),
    /// Some are not, or are broadcast: the bytes from one value to the next along each axis.
    Mixed {
        shape: Vec<usize>,
        strides: [Vec<isize>; 5],
    },
}

fn fields<'a>(array: &'a Bound<'_, PyUntypedArray>) -> &'a PyArrayObject_fields {
    // SAFETY: this is a NumPy array, kept alive by the reference, and its header does not move.
    unsafe { &(*array.as_array_ptr()).fields }
}

/// Whether an array holds float64 in native byte order.
fn is_native_double(array: &PyArrayObject_fields) -> bool {
    // SAFETY: every array has a type descriptor.
    let descriptor = unsafe { &(*array.descr).fields };
    descriptor.type_num == NPY_TYPES::NPY_DOUBLE as i32 && descriptor.byteorder as u8 == b'='
}

fn is_contiguous(array: &PyArrayObject_fields) -> bool {
    array.flags & READABLE == READABLE
}

impl<'py> Argument<'py> {
    #[inline]
    fn parse(name: &'static str, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return Ok(Self::Scalar(number.value()));
        }
        // SAFETY: the pointer is that of a live object, and the check looks only at its type.
        if unsafe { PyArray_CheckExact(value.py(), value.as_ptr()) } != 0 {
            // SAFETY: the check above found an array.
            let array = unsafe { value.cast_unchecked::<PyUntypedArray>() };
            if array.ndim() > 0 && is_native_double(fields(array)) {
                return Ok(Self::Array(array.clone()));
            }
        }
        Self::convert(name, value)
    }

    /// The slow path, for anything but a float or an array of float64.
    #[cold]
    fn convert(name: &'static str, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = value.py();
        let found = |what: String| PyErr::from(KernelError::Type(name, what));
        if value.is_instance_of::<PyBool>() {
            return Err(found("a bool".to_owned()));
        }
        if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>() {
            return value.extract().map(Self::Scalar);
        }
        let numpy = py.import("numpy")?;
        if value.is_instance(&numpy.getattr("ma")?.getattr("MaskedArray")?)? {
            return Err(found("a masked array, whose mask would be lost".to_owned()));
        }
        let array = numpy.call_method1("asarray", (value,))?;
        let mut array = array.cast_into::<PyUntypedArray>()?;
        let kind: String = array.dtype().getattr("kind")?.extract()?;
        let item_size: usize = array.dtype().getattr("itemsize")?.extract()?;
        if !matches!(kind.as_str(), "i" | "u" | "f") || item_size > size_of::<f64>() {
            let type_name = value.get_type().name()?;
            return Err(found(format!("{type_name} of dtype {}", array.dtype())));
        }
        if !is_native_double(fields(&array)) {
            array = array.call_method1("astype", ("float64",))?.cast_into()?;
        }
        if array.ndim() == 0 {
            return array.call_method0("item")?.extract().map(Self::Scalar);
        }
        Ok(Self::Array(array))
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Scalar(_) => &[],
            Self::Array(array) => array.shape(),
        }
    }

    fn operand<'a>(&self, shape: &[usize], strides: &'a [isize]) -> Operand<'a> {
        match self {
            Self::Scalar(value) => Operand::Scalar(*value),
            Self::Array(array) => {
                let first = fields(array).data.cast::<f64>().cast_const();
                if is_contiguous(fields(array)) && array.shape() == shape {
                    Operand::Contiguous(first)
                } else {
                    Operand::Strided(first, strides)
                }
            }
        }
    }
}

impl<'py> Arguments<'py> {
    /// Parses the five values of a call.
    #[inline]
    pub(super) fn parse(values: [&Bound<'py, PyAny>; 5]) -> PyResult<Self> {
        let parse = |index: usize| Argument::parse(NAMES[index], values[index]);
        let values = [parse(0)?, parse(1)?, parse(2)?, parse(3)?, parse(4)?];
        let layout = match same_length(&values) {
            Some(length) => Layout::Same([length]),
            None => broadcast(&values)?,
        };
        Ok(Self { values, layout })
    }

    /// Whether no argument is an array.
    pub(super) fn are_all_scalar(&self) -> bool {
        self.values
            .iter()
            .all(|value| matches!(value, Argument::Scalar(_)))
    }

    /// The shape of the prices.
    pub(super) fn shape(&self) -> &[usize] {
        match &self.layout {
            Layout::Same(shape) => shape,
            Layout::Mixed { shape, .. } => shape,
        }
    }

    /// The arguments in the core's form; valid as long as `self`.
    #[inline]
    pub(super) fn operands(&self) -> [Operand<'_>; 5] {
        std::array::from_fn(|index| match &self.layout {
            Layout::Same(shape) => self.values[index].operand(shape, &[]),
            Layout::Mixed { shape, strides } => self.values[index].operand(shape, &strides[index]),
        })
    }
}

/// The common length if every array is contiguous and one-dimensional.
#[inline]
fn same_length(values: &[Argument<'_>; 5]) -> Option<usize> {
    let mut length = None;
    for value in values {
        if let Argument::Array(array) = value {
            let (header, shape) = (fields(array), array.shape());
            if shape.len() != 1 || !is_contiguous(header) {
                return None;
            }
            if *length.get_or_insert(shape[0]) != shape[0] {
                return None;
            }
        }
    }
    length
}

/// NumPy's rule: shapes are aligned at their last axes, and an axis of 1 is repeated.
#[cold]
fn broadcast(values: &[Argument<'_>; 5]) -> Result<Layout, KernelError> {
    let axes = values
        .iter()
        .map(|value| value.shape().len())
        .max()
        .unwrap_or(0);
    let mut shape = vec![1; axes];
    for value in values {
        let missing = axes - value.shape().len();
        for (common, &own) in shape[missing..].iter_mut().zip(value.shape()) {
            if *common == 1 {
                *common = own;
            } else if own != 1 && own != *common {
                return Err(KernelError::Broadcast(
                    NAMES
                        .into_iter()
                        .zip(values.iter().map(|v| v.shape().to_vec()))
                        .collect(),
                ));
            }
        }
    }
    let strides = values.each_ref().map(|value| match value {
        Argument::Scalar(_) => Vec::new(),
        Argument::Array(array) => {
            let mut strides = vec![0; axes - array.ndim()];
            let own = array.shape().iter().zip(array.strides());
            strides.extend(own.map(|(&axis, &stride)| if axis == 1 { 0 } else { stride }));
            strides
        }
    });
    Ok(Layout::Mixed { shape, strides })
}

/// A new float64 array of `shape` with uninitialised values.
pub(super) fn new_output<'py>(
    py: Python<'py>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyUntypedArray>> {
    element_count(shape).ok_or_else(|| KernelError::TooLarge(shape.to_vec()))?;
    let null = std::ptr::null_mut();
    // SAFETY: the shape is only read, and its product fits; a failure is NumPy's own exception.
    unsafe {
        let array = PY_ARRAY_API.PyArray_New(
            py,
            get_type_object(py, NpyTypes::PyArray_Type),
            shape.len() as i32,
            shape.as_ptr().cast::<npy_intp>().cast_mut(),
            NPY_TYPES::NPY_DOUBLE as i32,
            std::ptr::null_mut(),
            null,
            0,
            0,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, array).map(|array| array.cast_into_unchecked())
    }
}

/// Checks that `out` can hold the prices.
pub(super) fn check_output<'py>(
    arguments: &Arguments<'py>,
    out: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let Ok(array) = out.cast::<PyUntypedArray>() else {
        let message = format!(
            "out must be a float64 array, not {}",
            out.get_type().name()?
        );
        return Err(PyTypeError::new_err(message));
    };
    let header = fields(array);
    if !is_native_double(header) {
        let message = format!(
            "out must be a float64 array in native byte order; got dtype {} and shape {}",
            array.dtype(),
            array.getattr("shape")?
        );
        return Err(PyTypeError::new_err(message));
    }
    if array.shape() != arguments.shape() {
        let shapes = (array.shape().to_vec(), arguments.shape().to_vec());
        return Err(KernelError::OutShape(shapes.0, shapes.1).into());
    }
    if header.flags & NPY_ARRAY_WRITEABLE == 0 {
        return Err(KernelError::OutReadOnly(array.shape().to_vec()).into());
    }
    if !is_contiguous(header) && overlaps_itself(array.shape(), array.strides()) {
        return Err(overlap("itself", array, array));
    }
    for (name, value) in NAMES.into_iter().zip(&arguments.values) {
        if let Argument::Array(argument) = value
            && overlaps(argument, array)?
        {
            return Err(overlap(name, argument, array));
        }
    }
    Ok(array.clone())
}

fn overlap(
    name: &'static str,
    argument: &Bound<'_, PyUntypedArray>,
    out: &Bound<'_, PyUntypedArray>,
) -> PyErr {
    KernelError::OutOverlaps(name, argument.shape().to_vec(), out.shape().to_vec()).into()
}

/// Where the prices go. The strides are a copy, because another thread may change the array's own
/// strides while the interpreter is released, by assigning to its `shape`.
pub(super) struct OutputLayout {
    first: *mut f64,
    strides: Option<Vec<isize>>,
}

impl OutputLayout {
    #[inline]
    pub(super) fn of(out: &Bound<'_, PyUntypedArray>) -> Self {
        let header = fields(out);
        Self {
            first: header.data.cast(),
            strides: (!is_contiguous(header)).then(|| out.strides().to_vec()),
        }
    }

    /// The output in the core's form; valid as long as the array.
    #[inline]
    pub(super) fn output(&self) -> Output<'_> {
        match &self.strides {
            None => Output::Contiguous(self.first),
            Some(strides) => Output::Strided(self.first, strides),
        }
    }
}

/// The first byte of an array and the one after its last, or `None` if it has no elements.
fn extent(array: &Bound<'_, PyUntypedArray>) -> Option<(isize, isize)> {
    let first = fields(array).data as isize;
    let mut ends = (first, first + size_of::<f64>() as isize);
    for (&axis, &stride) in array.shape().iter().zip(array.strides()) {
        let reach = stride * (axis.checked_sub(1)? as isize);
        if reach < 0 {
            ends.0 += reach
        } else {
            ends.1 += reach
        }
    }
    Some(ends)
}

/// Whether two elements of one array share memory.
fn overlaps_itself(shape: &[usize], strides: &[isize]) -> bool {
    const SIZE: usize = size_of::<f64>();
    if shape.contains(&0) {
        return false;
    }
    let mut axes: Vec<(usize, usize)> = shape
        .iter()
        .zip(strides)
        .filter(|&(&axis, _)| axis > 1)
        .map(|(&axis, stride)| (stride.unsigned_abs(), axis))
        .collect();
    axes.sort_unstable();
    // Axis by axis from the smallest step: a step beyond what the previous axes reach is safe.
    let (mut reach, mut count, mut nested) = (SIZE, 1_usize, true);
    for &(stride, axis) in &axes {
        nested &= stride >= reach;
        reach += stride * (axis - 1);
        count = count.saturating_mul(axis);
    }
    if nested || count > reach / SIZE {
        return !nested; // more elements than fit
    }
    // Elements can also be interleaved: compare their offsets.
    let mut offsets = vec![0];
    for (stride, axis) in axes {
        offsets = (0..axis)
            .flat_map(|index| offsets.iter().map(move |offset| offset + index * stride))
            .collect();
    }
    offsets.sort_unstable();
    offsets.windows(2).any(|pair| pair[1] - pair[0] < SIZE)
}

/// Whether two arrays share an element's memory.
fn overlaps(
    argument: &Bound<'_, PyUntypedArray>,
    out: &Bound<'_, PyUntypedArray>,
) -> PyResult<bool> {
    let (Some(one), Some(other)) = (extent(argument), extent(out)) else {
        return Ok(false);
    };
    if one.1 <= other.0 || other.1 <= one.0 {
        return Ok(false);
    }
    if is_contiguous(fields(argument)) && is_contiguous(fields(out)) {
        return Ok(true);
    }
    // Arrays can be interleaved without sharing an element: NumPy decides, and what is too hard for
    // NumPy counts as shared.
    let numpy = argument.py().import("numpy")?;
    let shared = numpy.call_method1("shares_memory", (argument, out, 10_000));
    match shared {
        Ok(shared) => shared.extract(),
        Err(error) => {
            let too_hard = numpy.getattr("exceptions")?.getattr("TooHardError")?;
            if error.is_instance(argument.py(), &too_hard) {
                Ok(true)
            } else {
                Err(error)
            }
        }
    }
}
