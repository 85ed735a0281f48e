// Format specifications and numbers: what is written has the width that was asked for and stays in its buffer. A format that
// does not fit is refused while compiling; here those that fit are run with any values.
#include "fuzz.hpp"

#include <cstring>
#include <exo/format.hpp>
#include <exo/trace.hpp>

namespace {

using namespace exo;

/// Takes values from the front of the input; zeros behind its end.
class values {
 public:
  explicit values(std::span<std::byte const> input) : rest_(input) {}
  template <typename T>
  T take() {
    T value{};
    std::size_t const count = std::min(sizeof(T), rest_.size());
    if (count != 0) std::memcpy(&value, rest_.data(), count);
    rest_ = rest_.subspan(count);
    return value;
  }
  std::string_view rest() const { return text_of(rest_); }

 private:
  std::span<std::byte const> rest_;
};

}  // namespace

void fuzz(std::span<std::byte const> input) {
  for (detail::format_reader reader(text_of(input));;) {  // whatever stands there, it comes to the end
    reader.text();
    if (reader.at_end()) break;
    if (reader.brace() == 0) (void)reader.placeholder();
  }

  values from(input);
  detail::format_spec spec;
  spec.fill = from.take<char>();
  constexpr char aligns[] = {0, '<', '>', '^'};
  spec.align = aligns[from.take<u8>() % 4];
  spec.prefix = (from.take<u8>() & 1) != 0;
  spec.zeros = (from.take<u8>() & 1) != 0;
  spec.width = static_cast<u8>(from.take<u8>() % (detail::width_max + 1));
  u8 const precision = from.take<u8>();
  spec.precision = precision > detail::digits_max ? detail::no_precision : precision;
  constexpr char types[] = {0, 'd', 'x', 'X', 'b'};
  spec.type = types[from.take<u8>() % 5];
  double const real = from.take<double>();
  u64 const natural = from.take<u64>();

  std::vector<char> buffer(1 + from.take<u8>());
  auto const check = [&](auto write) {
    text_sink cut(buffer);
    write(cut);
    demand(cut.text().size() <= buffer.size(), "more is written than the buffer has");
    std::vector<char> room(1024 + from.rest().size() * 6);
    text_sink whole(room);
    write(whole);
    demand(whole.text().starts_with(cut.text()), "a text that is cut off begins as another one");
    return std::string(whole.text());
  };
  demand(check([&](text_sink &out) { detail::write_real(out, spec, real); }).size() >= spec.width, "a real is narrower");
  for (bool const negative : {false, true}) {
    auto const text = check([&](text_sink &out) { detail::write_integer(out, spec, natural, negative); });
    demand(text.size() >= spec.width, "an integer is narrower than its width");
  }
  check([&](text_sink &out) { detail::write_padded(out, spec, '<', "", from.rest()); });

  // As JSON: no letter that ends the string or the line.
  auto const json = check([&](text_sink &out) { format_to(out, "{}", trace::detail::quoted{from.rest()}); });
  demand(json.size() >= 2 && json.front() == '"' && json.back() == '"', "a JSON string has no quotes");
  for (std::size_t at = 1; at + 1 < json.size(); ++at) {
    demand(static_cast<unsigned char>(json[at]) >= ' ', "a JSON string has a control letter");
    if (json[at] == '\\') {
      ++at;
      demand(at + 1 < json.size(), "a JSON string ends with a backslash");
    } else {
      demand(json[at] != '"', "a JSON string has a quote in it");
    }
  }
}
