#include "services/trainer/corpus/lexicon.h"

#include <array>
#include <string_view>

namespace tessera::trainer {
namespace {

constexpr auto kCommonWords = std::to_array<std::string_view>(
    {"apple",  "banana",  "cherry", "lemon",    "grape",   "peach",  "plum",    "pear",
     "melon",  "orange",  "bread",  "butter",   "cheese",  "honey",  "milk",    "sugar",
     "salt",   "pepper",  "rice",   "soup",     "water",   "fire",   "earth",   "wind",
     "stone",  "river",   "lake",   "sea",      "ocean",   "island", "hill",    "mountain",
     "valley", "forest",  "tree",   "leaf",     "flower",  "grass",  "garden",  "field",
     "farm",   "road",    "bridge", "house",    "door",    "window", "wall",    "roof",
     "floor",  "room",    "table",  "chair",    "bed",     "lamp",   "clock",   "mirror",
     "carpet", "basket",  "bottle", "cup",      "plate",   "spoon",  "fork",    "knife",
     "glass",  "paper",   "pencil", "pen",      "book",    "letter", "page",    "word",
     "story",  "song",    "music",  "piano",    "guitar",  "drum",   "violin",  "dance",
     "dog",    "cat",     "horse",  "cow",      "sheep",   "goat",   "pig",     "duck",
     "goose",  "hen",     "fox",    "wolf",     "bear",    "deer",   "lion",    "tiger",
     "monkey", "mouse",   "rabbit", "snake",    "frog",    "fish",   "bird",    "eagle",
     "owl",    "sun",     "moon",   "star",     "sky",     "cloud",  "rain",    "snow",
     "storm",  "thunder", "winter", "summer",   "spring",  "autumn", "morning", "evening",
     "night",  "day",     "week",   "month",    "year",    "red",    "green",   "blue",
     "yellow", "black",   "white",  "brown",    "grey",    "purple", "pink",    "gold",
     "silver", "one",     "two",    "three",    "four",    "five",   "six",     "seven",
     "eight",  "nine",    "ten",    "hello",    "world",   "good",   "bad",     "big",
     "small",  "long",    "short",  "old",      "new",     "young",  "fast",    "slow",
     "hot",    "cold",    "warm",   "cool",     "happy",   "sad",    "quiet",   "loud",
     "bright", "dark",    "ship",   "boat",     "train",   "car",    "bus",     "bike",
     "plane",  "wheel",   "engine", "rope",     "sail",    "anchor", "harbour", "market",
     "shop",   "street",  "city",   "town",     "village", "castle", "tower",   "church",
     "school", "king",    "queen",  "prince",   "knight",  "doctor", "nurse",   "teacher",
     "farmer", "baker",   "sailor", "painter",  "writer",  "child",  "friend",  "brother",
     "sister", "mother",  "father", "hand",     "foot",    "head",   "eye",     "ear",
     "nose",   "mouth",   "tooth",  "hair",     "heart",   "blood",  "bone",    "skin",
     "walk",   "run",     "jump",   "swim",     "fly",     "sing",   "read",    "write",
     "draw",   "paint",   "build",  "open",     "close",   "push",   "pull",    "lift",
     "carry",  "throw",   "catch",  "alpha",    "beta",    "gamma",  "delta",   "omega",
     "zebra",  "yarn",    "violet", "umbrella", "tulip",   "quartz", "needle",  "jacket",
     "kettle", "ladder",  "magnet", "coffee",   "tea",     "juice",  "cake",    "pie",
     "jam",    "corn",    "bean",   "onion",    "potato",  "carrot", "cabbage", "iron",
     "copper", "tin",     "wood",   "wool",     "silk",    "cotton", "leather", "sand",
     "clay",   "brick",   "nail",   "hammer",   "saw",     "drill",  "screw",   "bolt",
     "wire",   "cable",   "switch", "map",      "flag",    "coin",   "ring",    "crown",
     "sword",  "shield",  "arrow",  "bow",      "quick",   "lazy",   "jumps",   "over"});

constexpr auto kFirstNames = std::to_array<std::string_view>(
    {"Anna",  "Ben",   "Clara", "David",  "Emma",  "Felix",  "Grace", "Henry", "Ida",   "Jack",
     "Karl",  "Lena",  "Maria", "Nina",   "Oscar", "Paul",   "Rosa",  "Sam",   "Tom",   "Uma",
     "Vera",  "Will",  "Yara",  "Zoe",    "Alice", "Bob",    "Carol", "Dan",   "Eva",   "Frank",
     "Gina",  "Hugo",  "Ivan",  "Julia",  "Kim",   "Leo",    "Mia",   "Noah",  "Olga",  "Peter",
     "Ravi",  "Sara",  "Tim",   "Victor", "Wanda", "Aisha",  "Bruno", "Chen",  "Dora",  "Elif",
     "Farid", "Greta", "Hana",  "Igor",   "Jonas", "Kofi",   "Laura", "Marco", "Nadia", "Omar",
     "Priya", "Quinn", "Rita",  "Stefan", "Tara",  "Yusuf",  "Max",   "Lucy",  "John",  "Jane",
     "Mary",  "James", "Ali",   "Mark",   "Lisa",  "Martin", "Sofia", "Adam"});

constexpr auto kCities = std::to_array<std::string_view>(
    {"Paris",    "London",   "Berlin", "Rome",     "Madrid", "Vienna", "Prague",  "Oslo",
     "Lisbon",   "Dublin",   "Athens", "Warsaw",   "Moscow", "Cairo",  "Lagos",   "Nairobi",
     "Delhi",    "Mumbai",   "Tokyo",  "Seoul",    "Sydney", "Boston", "Chicago", "Denver",
     "Seattle",  "Austin",   "Miami",  "Toronto",  "Lima",   "Bogota", "Zurich",  "Geneva",
     "Munich",   "Hamburg",  "Milan",  "Naples",   "Venice", "Lyon",   "Bern",    "Kyoto",
     "Osaka",    "Dubai",    "Tehran", "Helsinki", "Riga",   "Sofia",  "Porto",   "Brussels",
     "Budapest", "Amsterdam"});

constexpr auto kColours = std::to_array<std::string_view>(
    {"red", "green", "blue", "yellow", "black", "white", "brown", "grey", "purple", "pink",
     "orange", "gold", "silver", "violet", "turquoise"});

constexpr auto kAnimals =
    std::to_array<std::string_view>({"dog", "cat", "horse", "rabbit", "parrot", "hamster", "turtle",
                                     "goldfish", "goat", "pony", "snake", "canary"});

constexpr auto kFoods = std::to_array<std::string_view>(
    {"pizza", "pasta", "soup", "rice", "bread", "cheese", "salad", "cake", "sushi", "curry",
     "pancakes", "apples", "noodles", "chocolate"});

constexpr auto kJobs = std::to_array<std::string_view>(
    {"doctor", "nurse", "teacher", "farmer", "baker", "sailor", "painter", "writer", "pilot",
     "lawyer", "cook", "driver", "gardener", "plumber", "dentist", "engineer"});

constexpr auto kMonths =
    std::to_array<std::string_view>({"January", "February", "March", "April", "May", "June", "July",
                                     "August", "September", "October", "November", "December"});

}  // namespace

std::span<const std::string_view> CommonWords() { return kCommonWords; }
std::span<const std::string_view> FirstNames() { return kFirstNames; }
std::span<const std::string_view> Cities() { return kCities; }
std::span<const std::string_view> Colours() { return kColours; }
std::span<const std::string_view> Animals() { return kAnimals; }
std::span<const std::string_view> Foods() { return kFoods; }
std::span<const std::string_view> Jobs() { return kJobs; }
std::span<const std::string_view> Months() { return kMonths; }

}  // namespace tessera::trainer
