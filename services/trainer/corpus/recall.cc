#include "services/trainer/corpus/recall.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "services/trainer/corpus/faq.h"
#include "services/trainer/corpus/lexicon.h"

namespace tessera::trainer {
namespace {

std::string Person(Draw& draw) {
  std::string name = draw.Chance(0.5) ? draw.Of(FirstNames()) : draw.Capitalised();
  if (draw.Chance(0.12)) absl::AsciiStrToLower(&name);  // as people type
  return name;
}

UserFact Name(Draw& draw) {
  const std::string v = Person(draw);
  return {
      {absl::StrCat("My name is ", v, "."), absl::StrCat("I am ", v, "."),
       absl::StrCat("I'm ", v, "."), absl::StrCat("Remember my name: ", v, "."),
       absl::StrCat("Remember that my name is ", v, "."), absl::StrCat("Call me ", v, " please."),
       absl::StrCat("Hello, my name is ", v, "."), absl::StrCat("Remember my name is ", v, "."),
       absl::StrCat("Hi, I am ", v, "."), absl::StrCat("People call me ", v, ".")},
      absl::StrCat("Nice to meet you, ", v, "."),
      {"What is my name?", "What's my name?", "Do you know my name?", "Who am I?",
       "What am I called?", "Tell me my name.", "Do you remember my name?"},
      absl::StrCat("Your name is ", v, "."),
      "You have not told me your name."};
}

UserFact City(Draw& draw) {
  const std::string v = draw.Chance(0.5) ? draw.Of(Cities()) : draw.Capitalised();
  return {{absl::StrCat("I live in ", v, "."), absl::StrCat("My home is in ", v, "."),
           absl::StrCat("Remember that I live in ", v, "."), absl::StrCat("My city is ", v, ".")},
          absl::StrCat("I will remember that you live in ", v, "."),
          {"Where do I live?", "In which city do I live?", "What is my city?", "Where is my home?",
           "Do you know where I live?"},
          absl::StrCat("You live in ", v, "."),
          "You have not told me where you live."};
}

UserFact Liked(const std::string& what, std::span<const std::string_view> values, Draw& draw) {
  const std::string v = draw.Chance(0.5) ? draw.Of(values) : draw.Word(1, 3);
  return {{absl::StrCat("My favourite ", what, " is ", v, "."),
           absl::StrCat("My favorite ", what, " is ", v, "."),
           absl::StrCat("The ", what, " I like best is ", v, "."),
           absl::StrCat("Remember my favourite ", what, ": ", v, ".")},
          absl::StrCat("I will remember that your favourite ", what, " is ", v, "."),
          {absl::StrCat("What is my favourite ", what, "?"),
           absl::StrCat("What is my favorite ", what, "?"),
           absl::StrCat("Which ", what, " do I like best?"),
           absl::StrCat("Do you remember my favourite ", what, "?")},
          absl::StrCat("Your favourite ", what, " is ", v, "."),
          absl::StrCat("You have not told me your favourite ", what, ".")};
}

UserFact Pet(Draw& draw) {
  const std::string animal = draw.Of({"dog", "cat", "horse", "parrot"});
  const std::string v = Person(draw);
  return {{absl::StrCat("My ", animal, " is called ", v, "."),
           absl::StrCat("I have a ", animal, " named ", v, "."),
           absl::StrCat("The name of my ", animal, " is ", v, "."),
           absl::StrCat("My ", animal, "'s name is ", v, ".")},
          absl::StrCat("I will remember that your ", animal, " is called ", v, "."),
          {absl::StrCat("What is my ", animal, " called?"),
           absl::StrCat("What is the name of my ", animal, "?"),
           absl::StrCat("What is my ", animal, "'s name?"),
           absl::StrCat("How is my ", animal, " called?")},
          absl::StrCat("Your ", animal, " is called ", v, "."),
          absl::StrCat("You have not told me the name of your ", animal, ".")};
}

UserFact Code(const std::string& what, Draw& draw) {
  const std::string v = draw.Chance(0.5) ? draw.Digits(draw.Between(2, 5)) : draw.Word(1, 3);
  return {{absl::StrCat("My ", what, " is ", v, "."), absl::StrCat("The ", what, " is ", v, "."),
           absl::StrCat("Remember the ", what, " ", v, "."),
           absl::StrCat("Remember that the ", what, " is ", v, "."),
           absl::StrCat("Keep in mind: the ", what, " is ", v, "."),
           absl::StrCat("Remember the ", what, ": ", v)},
          absl::StrCat("I will remember that the ", what, " is ", v, "."),
          {absl::StrCat("What is my ", what, "?"), absl::StrCat("What is the ", what, "?"),
           absl::StrCat("What was the ", what, "?"), absl::StrCat("Tell me the ", what, "."),
           absl::StrCat("Do you remember the ", what, "?")},
          absl::StrCat("The ", what, " is ", v, "."),
          absl::StrCat("You have not told me the ", what, ".")};
}

UserFact Job(Draw& draw) {
  const std::string v = draw.Chance(0.7) ? draw.Of(Jobs()) : draw.Word(2, 3);
  return {
      {absl::StrCat("I work as a ", v, "."), absl::StrCat("My job is ", v, "."),
       absl::StrCat("I earn my money as a ", v, ".")},
      absl::StrCat("I will remember that you work as a ", v, "."),
      {"What is my job?", "What do I do for a living?", "What do I work as?", "What is my work?"},
      absl::StrCat("You work as a ", v, "."),
      "You have not told me your job."};
}

UserFact Birthday(Draw& draw) {
  const std::string v = draw.Of(Months());
  return {{absl::StrCat("My birthday is in ", v, "."), absl::StrCat("I was born in ", v, ".")},
          absl::StrCat("I will remember that your birthday is in ", v, "."),
          {"When is my birthday?", "In which month was I born?", "When was I born?",
           "In which month is my birthday?"},
          absl::StrCat("Your birthday is in ", v, "."),
          "You have not told me your birthday."};
}

}  // namespace

UserFact MakeUserFact(size_t kind, Draw& draw) {
  switch (kind) {
    case 0:
    case 1:
      return Name(draw);
    case 2:
      return City(draw);
    case 3:
      return Liked(draw.Of({"colour", "color"}), Colours(), draw);
    case 4:
      return Liked(draw.Of({"food", "animal"}), draw.Chance(0.5) ? Foods() : Animals(), draw);
    case 5:
      return Pet(draw);
    case 6:
      return Code(draw.Of({"code", "secret number", "room number", "password", "code word"}), draw);
    case 7: {
      const std::string thing = draw.AnyWord();
      return Code(thing, draw);
    }
    case 8:
      return Job(draw);
    default:
      return Birthday(draw);
  }
}

void AddStatement(const UserFact& fact, Draw& draw, Conversation& conversation) {
  std::string text = fact.statements[draw.Below(fact.statements.size())];
  // Names keep their capital letters: the answer copies them.
  if (text.back() == '.' && draw.Chance(0.3)) text.pop_back();
  if (draw.Chance(0.2)) text[0] = static_cast<char>(text[0] | 0x20);
  conversation.User(std::move(text));
  conversation.Assistant(fact.confirmation);
}

void AddRecall(const UserFact& fact, Draw& draw, Conversation& conversation) {
  conversation.User(Casual(fact.questions[draw.Below(fact.questions.size())], draw));
  conversation.Assistant(fact.answer);
}

void AddUnknown(const UserFact& fact, Draw& draw, Conversation& conversation) {
  conversation.User(Casual(fact.questions[draw.Below(fact.questions.size())], draw));
  conversation.Assistant(fact.unknown);
}

void AddReading(size_t word_count, Draw& draw, Conversation& conversation) {
  std::string text = draw.Of({"Read this:", "Just read this:", "Here is a text:", "Read:"});
  for (size_t i = 0; i < word_count; ++i) {
    absl::StrAppend(&text, " ", draw.Chance(0.5) ? draw.Of(CommonWords()) : draw.AnyWord());
  }
  conversation.User(std::move(text));
  conversation.Assistant("Done.");
}

}  // namespace tessera::trainer
