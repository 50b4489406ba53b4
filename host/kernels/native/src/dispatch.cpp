// Calls of libtorch's operations by name, through its dispatcher: what a network that was written in
// Python consists of. An operation is looked up once, and its constant arguments are made once.
//
// Every function that can fail returns null, or an error's text that `rewind_free_text` frees.

#include <ATen/Context.h>
#include <ATen/ScalarOps.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "guarded.h"

using c10::IValue;

namespace {

// The same numbers stand in dispatch.rs.
enum ValueKind : int32_t {
  NONE,
  INT,
  FLOAT,
  BOOL,
  STRING,
  INTS,
  FLOATS,
  BOOLS,
  DEVICE,
  TENSOR,
  WRAPPED_INT,
  WRAPPED_FLOAT,
  WRAPPED_BOOL,
  DEFAULT,
  SLOT,
  SLOTS,
  OPTIONAL_SLOTS,
  INT_SLOTS,
};

// An argument as it crosses the boundary; `items` are what the kind says, booleans as whole numbers.
struct Value {
  int32_t kind;
  int64_t whole;
  double real;
  const void *items;
  size_t count;
};

// A number, or the slot that holds it: then `slot` is not negative.
struct Whole {
  int64_t slot, value;
};

struct Parameter {
  const char *name, *type;
  const Value *standard; // null: must be given
  int32_t repeats;       // what a single number stands for in a list, or 0
  bool writes;
};

// Where a result goes: to `slot`, unless it is negative; a list's tensors to `items`, if it has any.
struct Output {
  int64_t slot;
  const int64_t *items;
  size_t count;
};

enum class Arithmetic : int32_t {
  Add,
  Sub,
  Mul,
  FloorDiv,
  Mod,
  Neg,
  Min,
  Max,
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  Size,
  Stride,
  Numel,
};

// What an argument that comes from a slot is converted to.
enum class Wants : uint8_t { Tensor, Int, Float, Bool, Scalar, AsItIs };

struct Fill {
  size_t position;
  ValueKind kind;
  Wants wants;
  std::vector<Whole> from;
};

struct Store {
  int64_t slot = -1;
  bool list = false;
  std::vector<int64_t> items;
};

struct Node {
  std::optional<c10::OperatorHandle> operation; // none: arithmetic on slots
  Arithmetic arithmetic = Arithmetic::Add;
  std::vector<Whole> operands;
  std::vector<IValue> stack; // arguments; those that come from slots are missing
  std::vector<Fill> fills;
  std::vector<Store> stores;
  std::vector<int64_t> drops;
  int64_t highest = -1; // of the slots that it touches

  int64_t touch(int64_t slot) {
    highest = std::max(highest, slot);
    return slot;
  }
};

struct Frame {
  std::vector<IValue> slots;
  std::vector<IValue> stack; // its memory is kept from call to call

  IValue &at(int64_t slot) {
    TORCH_CHECK(slot >= 0 && size_t(slot) < slots.size(), "slot ", slot, " is not one of ", slots.size());
    return slots[slot];
  }

  const IValue &full(int64_t slot) {
    const IValue &value = at(slot);
    TORCH_CHECK(!value.isNone(), "slot ", slot, " holds nothing");
    return value;
  }

  const at::Tensor &tensor(int64_t slot) {
    const IValue &value = full(slot);
    TORCH_CHECK(value.isTensor(), "slot ", slot, " holds ", value.tagKind(), ", expected Tensor");
    return value.toTensor();
  }

  int64_t whole(const Whole &from) {
    if (from.slot < 0) return from.value;
    const IValue &value = full(from.slot);
    TORCH_CHECK(value.isInt(), "slot ", from.slot, " holds ", value.tagKind(), ", expected Int");
    return value.toInt();
  }
};

// Libtorch promotes a number among tensors like one written in the code, if it is marked so.
at::Tensor wrapped(const at::Scalar &number) { return at::native::wrapped_scalar_tensor(number); }

// Graphics cards by their number, the others by negative ones.
at::Device device_of(int64_t number) {
  if (number >= 0) return {at::kCUDA, static_cast<c10::DeviceIndex>(number)};
  return number == -1 ? at::kCPU : at::kMPS;
}

Wants wants_of(const c10::TypePtr &type) {
  switch (type->kind()) {
  case c10::TypeKind::OptionalType:
    return wants_of(type->castRaw<c10::OptionalType>()->getElementType());
  case c10::TypeKind::TensorType:
    return Wants::Tensor;
  case c10::TypeKind::IntType:
    return Wants::Int;
  case c10::TypeKind::FloatType:
    return Wants::Float;
  case c10::TypeKind::BoolType:
    return Wants::Bool;
  case c10::TypeKind::NumberType:
    return Wants::Scalar;
  default:
    return Wants::AsItIs;
  }
}

IValue converted(const IValue &value, int64_t slot, Wants wants) {
  const char *expected = "";
  switch (wants) {
  case Wants::Tensor:
    if (value.isTensor()) return value;
    if (value.isScalar()) return wrapped(value.toScalar());
    expected = "Tensor";
    break;
  case Wants::Int:
    if (value.isInt()) return value;
    expected = "Int";
    break;
  case Wants::Float:
    if (value.isDouble()) return value;
    if (value.isInt()) return double(value.toInt());
    expected = "Double";
    break;
  case Wants::Bool:
    if (value.isBool()) return value;
    expected = "Bool";
    break;
  case Wants::Scalar:
    if (value.isScalar()) return value;
    expected = "a number";
    break;
  case Wants::AsItIs:
    return value;
  }
  TORCH_CHECK(false, "slot ", slot, " holds ", value.tagKind(), ", expected ", expected);
}

template <typename T, typename Stored = T> c10::List<T> list_of(const Value &value) {
  const auto *items = static_cast<const Stored *>(value.items);
  c10::List<T> list;
  list.reserve(value.count);
  for (size_t i = 0; i < value.count; ++i) list.push_back(T(items[i]));
  return list;
}

IValue constant(const Value &value) {
  switch (value.kind) {
  case NONE:
    return {};
  case INT:
    return value.whole;
  case FLOAT:
    return value.real;
  case BOOL:
    return value.whole != 0;
  case STRING:
    return std::string(static_cast<const char *>(value.items), value.count);
  case INTS:
    return list_of<int64_t>(value);
  case FLOATS:
    return list_of<double>(value);
  case BOOLS:
    return list_of<bool, int64_t>(value);
  case DEVICE:
    return device_of(value.whole);
  case TENSOR:
    return *static_cast<const at::Tensor *>(value.items);
  case WRAPPED_INT:
    return wrapped(value.whole);
  case WRAPPED_FLOAT:
    return wrapped(value.real);
  case WRAPPED_BOOL:
    return wrapped(value.whole != 0);
  default:
    TORCH_CHECK(false, "no constant of kind ", value.kind);
  }
}

// The other way round, for defaults; lists lie in the vectors.
Value described(const IValue &value, std::vector<int64_t> &ints, std::vector<double> &floats, std::string &text) {
  if (value.isInt()) return {INT, value.toInt(), 0, nullptr, 0};
  if (value.isDouble()) return {FLOAT, 0, value.toDouble(), nullptr, 0};
  if (value.isBool()) return {BOOL, value.toBool(), 0, nullptr, 0};
  if (value.isString()) {
    text = value.toStringRef();
    return {STRING, 0, 0, text.data(), text.size()};
  }
  if (value.isIntList()) {
    ints = value.toIntVector();
    return {INTS, 0, 0, ints.data(), ints.size()};
  }
  if (value.isDoubleList()) {
    floats = value.toDoubleVector();
    return {FLOATS, 0, 0, floats.data(), floats.size()};
  }
  if (value.isBoolList()) {
    for (bool item : value.toBoolList()) ints.push_back(item);
    return {BOOLS, 0, 0, ints.data(), ints.size()};
  }
  return {NONE, 0, 0, nullptr, 0};
}

void fill(IValue &place, const Fill &fill, Frame &frame) {
  switch (fill.kind) {
  case SLOTS: {
    c10::List<at::Tensor> list;
    list.reserve(fill.from.size());
    for (const Whole &from : fill.from) list.push_back(frame.tensor(from.slot));
    place = std::move(list);
    return;
  }
  case OPTIONAL_SLOTS: {
    c10::List<std::optional<at::Tensor>> list;
    list.reserve(fill.from.size());
    for (const Whole &from : fill.from)
      list.push_back(from.slot < 0 ? std::nullopt : std::optional<at::Tensor>(frame.tensor(from.slot)));
    place = std::move(list);
    return;
  }
  case INT_SLOTS: {
    c10::List<int64_t> list;
    list.reserve(fill.from.size());
    for (const Whole &from : fill.from) list.push_back(frame.whole(from));
    place = std::move(list);
    return;
  }
  default:
    place = converted(frame.full(fill.from[0].slot), fill.from[0].slot, fill.wants);
  }
}

void store(IValue &&value, const Store &store, Frame &frame) {
  if (store.list) {
    TORCH_CHECK(value.isTensorList(), "gave ", value.tagKind(), ", expected a list of tensors");
    const auto list = value.toTensorList();
    TORCH_CHECK(list.size() == store.items.size(), "gave ", list.size(), " tensors, expected ",
                store.items.size());
    for (size_t i = 0; i < list.size(); ++i)
      if (store.items[i] >= 0) frame.slots[store.items[i]] = list.get(i);
  } else if (store.slot >= 0) {
    frame.slots[store.slot] = std::move(value);
  }
}

void call(const Node &node, Frame &frame) {
  // The arguments go whatever happens.
  struct Emptied {
    std::vector<IValue> &stack;
    ~Emptied() { stack.clear(); }
  } emptied{frame.stack};
  auto &stack = frame.stack;
  stack.assign(node.stack.begin(), node.stack.end());
  const auto &schema = node.operation->schema();
  for (const Fill &one : node.fills) {
    try {
      fill(stack[one.position], one, frame);
    } catch (c10::Error &error) {
      TORCH_CHECK(false, "argument ", schema.arguments()[one.position].name(), ": ", error.what_without_backtrace());
    }
  }
  node.operation->callBoxed(stack);
  TORCH_CHECK(stack.size() == node.stores.size(), "gave ", stack.size(), " results, expected ",
              node.stores.size());
  for (size_t i = 0; i < stack.size(); ++i) store(std::move(stack[i]), node.stores[i], frame);
}

// Python's: rounds down, and the remainder has the divisor's sign.
int64_t floor_div(int64_t a, int64_t b) {
  TORCH_CHECK(b != 0, "division of ", a, " by zero");
  TORCH_CHECK(a != std::numeric_limits<int64_t>::min() || b != -1, "a result that no Int holds");
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

IValue compute(const Node &node, Frame &frame) {
  const auto &of = node.operands;
  switch (node.arithmetic) {
  case Arithmetic::Size:
    return frame.tensor(of[0].slot).size(of[1].value);
  case Arithmetic::Stride:
    return frame.tensor(of[0].slot).stride(of[1].value);
  case Arithmetic::Numel:
    return frame.tensor(of[0].slot).numel();
  default:
    break;
  }
  const int64_t a = frame.whole(of[0]), b = of.size() > 1 ? frame.whole(of[1]) : 0;
  int64_t result = 0;
  bool overflows = false;
  switch (node.arithmetic) {
  case Arithmetic::Add:
    overflows = __builtin_add_overflow(a, b, &result);
    break;
  case Arithmetic::Sub:
    overflows = __builtin_sub_overflow(a, b, &result);
    break;
  case Arithmetic::Neg:
    overflows = __builtin_sub_overflow(int64_t(0), a, &result);
    break;
  case Arithmetic::Mul:
    overflows = __builtin_mul_overflow(a, b, &result);
    break;
  case Arithmetic::FloorDiv:
    result = floor_div(a, b);
    break;
  case Arithmetic::Mod:
    result = a - floor_div(a, b) * b;
    break;
  case Arithmetic::Min:
    result = std::min(a, b);
    break;
  case Arithmetic::Max:
    result = std::max(a, b);
    break;
  case Arithmetic::Eq:
    return a == b;
  case Arithmetic::Ne:
    return a != b;
  case Arithmetic::Lt:
    return a < b;
  case Arithmetic::Le:
    return a <= b;
  case Arithmetic::Gt:
    return a > b;
  case Arithmetic::Ge:
    return a >= b;
  default:
    TORCH_CHECK(false, "no arithmetic of this number");
  }
  TORCH_CHECK(!overflows, "a result that no Int holds");
  return result;
}

} // namespace

extern "C" {

// Looks an operation up.
char *rewind_operator_find(const char *name, const char *overload, c10::OperatorHandle **out) {
  return guarded([&] {
    const auto found = c10::Dispatcher::singleton().findSchema({name, overload});
    TORCH_CHECK(found, "there is no operation ", name, *overload ? "." : "", overload);
    *out = new c10::OperatorHandle(*found);
  });
}

void rewind_operator_free(c10::OperatorHandle *operation) { delete operation; }

// Whether its results are random.
bool rewind_operator_is_random(const c10::OperatorHandle *operation) {
  return operation->hasTag(at::Tag::nondeterministic_seeded);
}

// Calls `parameter` for each parameter and `result` for the type of each result, in the schema's order.
char *rewind_operator_describe(const c10::OperatorHandle *operation, void *state,
                               void (*parameter)(void *, const Parameter *), void (*result)(void *, const char *)) {
  return guarded([&] {
    const auto &schema = operation->schema();
    for (const auto &argument : schema.arguments()) {
      const std::string type = argument.real_type()->str();
      const auto &standard = argument.default_value();
      std::vector<int64_t> ints;
      std::vector<double> floats;
      std::string text;
      const Value value = described(standard ? *standard : IValue(), ints, floats, text);
      const Parameter described{argument.name().c_str(), type.c_str(), standard ? &value : nullptr,
                                argument.N().value_or(0), argument.alias_info() && argument.alias_info()->isWrite()};
      parameter(state, &described);
    }
    for (const auto &returned : schema.returns()) result(state, returned.real_type()->str().c_str());
  });
}

// A call with a value for each parameter and a place for each result.
char *rewind_node_call(const c10::OperatorHandle *operation, const Value *values, size_t value_count,
                       const Output *outputs, size_t output_count, Node **out) {
  return guarded([&] {
    const auto &schema = operation->schema();
    TORCH_CHECK(value_count == schema.arguments().size() && output_count == schema.returns().size(),
                "a call of another operation");
    auto node = std::make_unique<Node>();
    node->operation = *operation;
    for (size_t i = 0; i < value_count; ++i) {
      const Value &value = values[i];
      const auto &argument = schema.arguments()[i];
      if (value.kind == DEFAULT) {
        node->stack.push_back(argument.default_value().value_or(IValue()));
        continue;
      }
      if (value.kind < SLOT) {
        node->stack.push_back(constant(value));
        continue;
      }
      Fill fill{i, ValueKind(value.kind), wants_of(argument.type()), {}};
      if (value.kind == SLOT) {
        fill.from.push_back({node->touch(value.whole), 0});
      } else {
        const auto *items = static_cast<const Whole *>(value.items);
        for (size_t j = 0; j < value.count; ++j) {
          node->touch(items[j].slot);
          fill.from.push_back(items[j]);
        }
      }
      node->fills.push_back(std::move(fill));
      node->stack.emplace_back();
    }
    for (size_t i = 0; i < output_count; ++i) {
      Store store{node->touch(outputs[i].slot), outputs[i].items != nullptr, {}};
      for (size_t j = 0; j < outputs[i].count; ++j) store.items.push_back(node->touch(outputs[i].items[j]));
      node->stores.push_back(std::move(store));
    }
    *out = node.release();
  });
}

// Arithmetic on slots; `count` operands as the wrapper has checked.
char *rewind_node_arithmetic(int32_t arithmetic, const Whole *operands, size_t count, int64_t slot, Node **out) {
  return guarded([&] {
    auto node = std::make_unique<Node>();
    node->arithmetic = Arithmetic(arithmetic);
    for (size_t i = 0; i < count; ++i) {
      node->touch(operands[i].slot);
      node->operands.push_back(operands[i]);
    }
    node->stores.push_back({node->touch(slot), false, {}});
    *out = node.release();
  });
}

// The slots that are emptied after the call.
char *rewind_node_drops(Node *node, const int64_t *slots, size_t count) {
  return guarded([&] {
    node->drops.assign(slots, slots + count);
    for (size_t i = 0; i < count; ++i) node->touch(slots[i]);
  });
}

void rewind_node_free(Node *node) { delete node; }

char *rewind_frame_new(size_t slots, Frame **out) {
  return guarded([&] {
    auto frame = std::make_unique<Frame>();
    frame->slots.resize(slots);
    *out = frame.release();
  });
}

void rewind_frame_free(Frame *frame) { delete frame; }

char *rewind_frame_set_tensor(Frame *frame, int64_t slot, const at::Tensor *tensor) {
  return guarded([&] { frame->at(slot) = *tensor; });
}

char *rewind_frame_set_int(Frame *frame, int64_t slot, int64_t number) {
  return guarded([&] { frame->at(slot) = number; });
}

char *rewind_frame_tensor(Frame *frame, int64_t slot, at::Tensor **out) {
  return guarded([&] { *out = new at::Tensor(frame->tensor(slot)); });
}

char *rewind_frame_int(Frame *frame, int64_t slot, int64_t *out) {
  return guarded([&] { *out = frame->whole({slot, 0}); });
}

// Empties a slot; all, if `slot` is negative.
char *rewind_frame_clear(Frame *frame, int64_t slot) {
  return guarded([&] {
    if (slot >= 0)
      frame->at(slot) = IValue();
    else
      for (IValue &value : frame->slots) value = IValue();
  });
}

// Seeds a device's default generator.
char *rewind_seed(int64_t device, uint64_t seed) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(device_of(device));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(seed);
  });
}

// Runs a node on the frame's slots.
char *rewind_frame_call(Frame *frame, const Node *node) {
  return guarded([&] {
    TORCH_CHECK(node->highest < int64_t(frame->slots.size()), "slot ", node->highest, " is not one of ",
                frame->slots.size());
    if (node->operation)
      call(*node, *frame);
    else
      store(compute(*node, *frame), node->stores[0], *frame);
    for (const int64_t slot : node->drops) frame->slots[slot] = IValue();
  });
}

} // extern "C"
