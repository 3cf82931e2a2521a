#include "services/trainer/corpus/everyday_tools.h"

namespace tessera::trainer {
namespace {

void AddPlaces(std::vector<EverydayTool>& tools) {
  tools.push_back(
      {{"get_weather", "weather", "get_current_weather", "weather_lookup", "fetch_weather"},
       {"Get the weather in a city.", "Get the current weather.", "Current weather of a place."},
       {"city", "location", "place"},
       SlotKind::kCity,
       {"What is the weather in $?", "How is the weather in $?", "What's the weather like in $?",
        "Tell me the weather in $.", "Is it raining in $?", "How warm is it in $?",
        "Will it rain in $?", "Do I need an umbrella in $?", "weather in $",
        "Is it cold in $ today?"}});
  tools.push_back({{"get_time", "current_time", "time_in_city", "get_local_time"},
                   {"Get the current time in a city.", "Tells the local time of a place."},
                   {"city", "location", "place"},
                   SlotKind::kCity,
                   {"What time is it in $?", "What is the time in $?", "Tell me the time in $.",
                    "How late is it in $?", "time in $"}});
  tools.push_back({{"get_population", "population", "count_people"},
                   {"Get the population of a city.", "Number of people in a city."},
                   {"city", "place"},
                   SlotKind::kCity,
                   {"What is the population of $?", "How many people live in $?",
                    "How many inhabitants does $ have?"}});
  tools.push_back({{"find_hotel", "search_hotels", "book_hotel"},
                   {"Find a hotel in a city.", "Search for hotels."},
                   {"city", "location"},
                   SlotKind::kCity,
                   {"Find a hotel in $.", "I need a hotel in $.", "Where can I sleep in $?",
                    "Book me a room in $."}});
  tools.push_back({{"find_restaurant", "search_restaurants"},
                   {"Find a restaurant in a city.", "Search for places to eat."},
                   {"city", "location"},
                   SlotKind::kCity,
                   {"Find a restaurant in $.", "Where can I eat in $?", "I am hungry in $.",
                    "Find a place to eat in $."}});
  tools.push_back({{"book_flight", "find_flight", "search_flights"},
                   {"Find a flight to a city.", "Book a flight."},
                   {"destination", "city", "to"},
                   SlotKind::kCity,
                   {"Book a flight to $.", "I want to fly to $.", "Find a flight to $.",
                    "Find me a plane to $."}});
}

void AddLookUps(std::vector<EverydayTool>& tools) {
  tools.push_back({{"find_train", "search_trains"},
                   {"Find a train to a city.", "Search for trains."},
                   {"destination", "city", "to"},
                   SlotKind::kCity,
                   {"Find a train to $.", "When does the train to $ leave?",
                    "I want to take the train to $."}});
  tools.push_back({{"get_stock_price", "stock_price", "get_price"},
                   {"Get the price of a stock.", "Current price of a share."},
                   {"symbol", "company", "name"},
                   SlotKind::kThing,
                   {"What is the stock price of $?", "How much is a share of $?",
                    "What does $ cost at the moment?", "Get the price of $."}});
  tools.push_back({{"search_web", "web_search", "search", "google"},
                   {"Search the web.", "Search the internet for a text."},
                   {"query", "text", "q"},
                   SlotKind::kWord,
                   {"Search the web for $.", "Search for $.", "Look up $.", "Find pages about $.",
                    "google $"}});
  tools.push_back({{"define_word", "dictionary", "get_definition"},
                   {"Get the definition of a word.", "Look a word up in the dictionary."},
                   {"word", "term"},
                   SlotKind::kWord,
                   {"Define $.", "What does the word $ mean?", "What is the definition of $?",
                    "Look $ up in the dictionary."}});
  tools.push_back({{"get_balance", "account_balance"},
                   {"Get the balance of an account.", "Money on an account."},
                   {"account", "name", "id"},
                   SlotKind::kThing,
                   {"What is the balance of $?", "How much money is on the account $?",
                    "Show the balance of $."}});
  tools.push_back({{"track_package", "track_parcel", "package_status"},
                   {"Track a package.", "Status of a parcel."},
                   {"number", "id", "package"},
                   SlotKind::kNumber,
                   {"Where is my package $?", "Track package $.", "When does parcel $ arrive?"}});
}

void AddErrands(std::vector<EverydayTool>& tools) {
  tools.push_back({{"set_timer", "start_timer", "timer"},
                   {"Set a timer.", "Start a timer of some minutes."},
                   {"minutes"},
                   SlotKind::kNumber,
                   {"Set a timer for $ minutes.", "Start a timer of $ minutes.",
                    "Wake me in $ minutes.", "timer $ minutes"}});
  tools.push_back({{"set_alarm", "alarm"},
                   {"Set an alarm clock.", "Set an alarm for an hour."},
                   {"hour", "time"},
                   SlotKind::kNumber,
                   {"Set an alarm for $.", "Wake me up at $.", "Set the alarm clock to $."}});
  tools.push_back({{"call_person", "phone_call", "make_call"},
                   {"Call a person on the phone.", "Make a phone call."},
                   {"person", "name", "contact"},
                   SlotKind::kPerson,
                   {"Call $.", "Phone $.", "Ring $ please.", "I want to talk to $ on the phone."}});
  tools.push_back({{"send_email", "email", "send_mail"},
                   {"Send an email.", "Write a mail to a person."},
                   {"to", "recipient", "person"},
                   SlotKind::kPerson,
                   {"Send an email to $.", "Write a mail to $.", "Email $.", "Mail $ for me."}});
  tools.push_back({{"send_message", "send_sms", "text_person"},
                   {"Send a text message.", "Send a message to a person."},
                   {"to", "recipient", "person"},
                   SlotKind::kPerson,
                   {"Send a message to $.", "Text $.", "Send $ a message."}});
  tools.push_back({{"play_music", "play_song", "music_player"},
                   {"Play a song.", "Play music."},
                   {"song", "title", "name"},
                   SlotKind::kWord,
                   {"Play $.", "Play the song $.", "I want to hear $.", "Put on $."}});
  tools.push_back({{"turn_on_light", "light_on", "switch_light"},
                   {"Turn on the light in a room.", "Switch a light on."},
                   {"room", "name"},
                   SlotKind::kWord,
                   {"Turn on the light in the $.", "Light on in the $.", "Switch on the $ light.",
                    "Make light in the $."}});
}

void AddHouseholdTools(std::vector<EverydayTool>& tools) {
  tools.push_back({{"order_food", "order_meal"},
                   {"Order food.", "Order a meal."},
                   {"dish", "food", "item"},
                   SlotKind::kWord,
                   {"Order $.", "I want to eat $.", "Get me some $.", "Order some $ for me."}});
  tools.push_back({{"add_note", "create_note", "save_note"},
                   {"Save a note.", "Write a note."},
                   {"text", "note"},
                   SlotKind::kWord,
                   {"Note: $", "Save a note: $", "Write down $.", "Make a note: $"}});
  tools.push_back({{"add_todo", "create_task", "add_task"},
                   {"Add a task to the list.", "Create a to-do."},
                   {"task", "title"},
                   SlotKind::kWord,
                   {"Add $ to my list.", "Create a task: $", "Put $ on my list.", "New task: $"}});
  tools.push_back(
      {{"read_file", "open_file"},
       {"Read a file.", "Open a file and read it."},
       {"path", "file", "name"},
       SlotKind::kThing,
       {"Read the file $.", "Open $.", "What is in the file $?", "Show me the file $."}});
  tools.push_back({{"delete_file", "remove_file"},
                   {"Delete a file.", "Remove a file for good."},
                   {"path", "file", "name"},
                   SlotKind::kThing,
                   {"Delete the file $.", "Remove $.", "Throw the file $ away.", "Delete $."}});
  tools.push_back(
      {{"roll_dice", "roll_die"},
       {"Roll a die.", "Roll a die with some sides."},
       {"sides"},
       SlotKind::kNumber,
       {"Roll a die with $ sides.", "Roll a $ sided die.", "Throw a die with $ sides."}});
}

}  // namespace

std::span<const EverydayTool> EverydayTools() {
  static const std::vector<EverydayTool> tools = [] {
    std::vector<EverydayTool> all;
    AddPlaces(all);
    AddLookUps(all);
    AddErrands(all);
    AddHouseholdTools(all);
    return all;
  }();
  return tools;
}

}  // namespace tessera::trainer
