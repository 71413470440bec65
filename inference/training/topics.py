"""The words and phrases of one topic only, such as films or hotels: the hand-written parts that fit no other.

They are written as those in ``inference.training.parts``.
"""

from __future__ import annotations

from dataclasses import dataclass

from inference.training.parts import entries


@dataclass(frozen=True)
class Topic:
    """A kind of thing, and the words that praise or blame only this kind."""

    nouns: tuple[str, ...]
    good_adjectives: tuple[str, ...]
    bad_adjectives: tuple[str, ...]
    good_verbs: tuple[str, ...]
    bad_verbs: tuple[str, ...]


FILM = Topic(
    entries("""
        film, movie, plot, story, acting, script, ending, cast, dialogue, sequel, remake, documentary, comedy,
        thriller, director, camera work, lead actress, main actor, villain, soundtrack, series, episode, season,
        trailer, cinema, opening scene, show, play, cartoon, drama, hero, character, twist, finale, performance,
        musical, horror film
    """),
    entries("""
        gripping, hilarious, moving, touching, funny, witty, entertaining, suspenseful, heartwarming, original,
        well-acted, believable, powerful, intelligent, tense, riveting, poignant, tender, imaginative, hypnotic,
        romantic, haunting, captivating, absorbing, compelling, masterly, fast-paced, well-written,
        thought-provoking, charismatic
    """),
    entries("""
        predictable, unfunny, wooden, badly acted, poorly written, far-fetched, unconvincing, cheesy, corny,
        shallow, pretentious, long-winded, overlong, slow-moving, incoherent, flat, contrived, unoriginal,
        overrated, soulless, hollow, implausible, brainless, empty, stiff, clichéd, sentimental, nonsensical,
        muddled, lame
    """),
    entries("""
        kept me on the edge of my seat, made me laugh, made me cry happy tears, stole the show, moved everyone,
        deserved every award, gripped me from the first minute, touched my heart, flew by, surprised me again and
        again, sparkled with wit, made the audience cheer, held my attention, blew me away, worked beautifully, won
        me over, got a standing ovation, stayed with me for days, lit up the screen, exceeded my expectations, was
        full of heart, made perfect sense, brought tears to my eyes, had us in stitches, never got dull, had
        everyone laughing, was worth seeing twice, left me speechless in the best way, shone in every scene, was
        beautifully shot
    """),
    entries("""
        put me to sleep, dragged on forever, went nowhere, fell flat, bored me, bored the whole family, insulted our
        intelligence, was full of holes, lacked any tension, lost me after ten minutes, ran out of ideas, had no
        point, was all noise, left me cold, tried too hard, was a chore to watch, wore thin quickly, ruined the
        book, was hard to follow, stumbled from scene to scene, annoyed me from the start, had no chemistry, made me
        cringe, was way too long, was not funny, failed to scare anyone, felt like an eternity, never got going,
        made little sense, left the audience yawning, was painful to sit through, mumbled through the whole thing,
        recycled old ideas
    """),
)
BOOK_AND_MUSIC = Topic(
    entries("""
        book, novel, author, chapter, album, song, concert, band, singer, voice, orchestra, festival, gig, melody,
        guitar, drummer, audiobook, poem, magazine, podcast, lyrics, choir, stage, sound, music, crowd, support act,
        record, exhibition, museum, ballet, circus, comedian, video game, game, puzzle, writing, biography, piano,
        club
    """),
    entries("""
        catchy, beautifully written, melodic, soulful, electrifying, energetic, hypnotic, tuneful, soaring,
        unputdownable, informative, atmospheric, rich, vivid, playful, addictive, well-researched, insightful,
        rousing, virtuoso, stirring, dreamy, crisp, full of life, enthralling, engaging, challenging in a good way,
        profound
    """),
    entries("""
        out of tune, off-key, repetitive, badly written, badly mixed, ear-splitting, deafening, tuneless, muddy,
        soporific, unreadable, dry, long, half-hearted, lacklustre, uninspired, pompous, padded, buggy, generic,
        full of mistakes, derivative, shrill, whiny, heavy-handed, far too short, sold out and overcrowded, preachy
    """),
    entries("""
        got everybody dancing, gave me shivers, sounded amazing, sounded better than ever, had us singing along,
        brought the house down, kept me reading all night, was a pleasure to read, hit every note, played two
        encores, made my day, lifted my mood, cheered me up, grew on me with every listen, rocked the hall, inspired
        me, taught me a lot, drew me in at once, gave it everything, had a great rhythm, made me want to dance, took
        my breath away, was pure magic, delivered the goods, kept the children busy for hours, sounded crystal
        clear, was sung beautifully
    """),
    entries("""
        sounded terrible, sounded like noise, hurt my ears, was over after forty minutes, started two hours late,
        was sung badly, forgot the words, was barely audible, made me want to leave, got on my nerves, was
        impossible to read, never came to the point, sent me to sleep, lacked energy, lacked soul, was cancelled at
        the last minute, was booed off the stage, crashed all the time, played the same three chords, was drowned
        out by the bass, repeated itself endlessly, read like a school essay, was not worth the ticket, kept
        freezing, went through the motions, was full of spelling mistakes, was spoiled by drunk people, missed every
        note, gave me a migraine
    """),
)
FOOD = Topic(
    entries("""
        food, meal, pizza, soup, pasta, dinner, lunch, breakfast, dessert, cake, coffee, tea, wine, beer, burger,
        salad, fish, chicken, steak, bread, sauce, curry, rice, sushi, sandwich, restaurant, café, bar, waiter,
        waitress, chef, menu, service, ice cream, buffet, bakery, pie, fries, cheese, noodles, omelette, vegetables,
        fruit, beef, cocktail, starter, main course, chocolate, portion, croissant, table, kitchen, pub, pancake,
        potatoes, dish
    """),
    entries("""
        delicious, tasty, yummy, mouth-watering, juicy, crispy, tender, freshly made, home-made, flavourful,
        perfectly seasoned, scrumptious, hot and fresh, creamy, rich, spicy in the best way, crunchy, generous,
        finger-licking, appetising, cooked to perfection, aromatic, fluffy, velvety, authentic, healthy, light,
        hearty, exquisite
    """),
    entries("""
        bland, burnt, raw, soggy, greasy, cold, lukewarm, salty, sour, undercooked, overcooked, inedible, rotten,
        mouldy, rubbery, chewy, watery, oily, tough, flavourless, stale, bitter, dry, mushy, tiny, frozen in the
        middle, too salty, half-cooked, slimy, rancid, off, gristly, stingy, microwaved, sticky, stinking, lumpy,
        fatty, gone off
    """),
    entries("""
        tasted wonderful, tasted like home, tasted fresh, melted in the mouth, smelled heavenly, looked as good as
        it tasted, was worth the wait, was full of flavour, hit the spot, arrived hot, came quickly, filled us up,
        went down a treat, was a feast for the eyes, made us order a second one, was just like my grandmother's, was
        cooked just right, was better than in Italy, made my mouth water, left nothing to be desired, was served
        with a smile, was seasoned just right, was worth the trip alone, beat every other one in town, tasted
        heavenly
    """),
    entries("""
        tasted of nothing, tasted like cardboard, tasted like soap, tasted awful, tasted burnt, smelled bad, smelled
        rotten, smelled funny, made me ill, made us sick, gave me a stomach ache, gave everyone food poisoning,
        arrived cold, took ages to arrive, took forever, never came, was swimming in oil, was raw inside, was as dry
        as dust, had a fly in it, had a bone in it, turned my stomach, went straight into the bin, looked like dog
        food, cost a fortune, came out of a tin, was served without a smile, was dripping with fat, left us hungry,
        stank, left a nasty taste, was spat out
    """),
)
HOTEL = Topic(
    entries("""
        hotel, room, bed, bathroom, shower, view, pool, reception, lobby, balcony, flat, apartment, hostel,
        campsite, garden, beach, location, house, villa, mattress, pillow, cottage, spa, sauna, area, neighbourhood,
        terrace, holiday, weekend, stay, host, landlord, maid, manager, towels, guest house, resort, street,
        staircase, kitchen, air conditioning, heating, wifi, furniture, carpet, lift, window, inn, park, playground,
        gym, place, atmosphere
    """),
    entries("""
        clean, spotless, spacious, comfortable, comfy, cosy, quiet, bright, airy, sunny, luxurious, well-kept,
        well-equipped, central, homely, romantic, idyllic, inviting, roomy, hospitable, sparkling clean, soft,
        restful, picturesque, relaxing, tasteful, immaculate, tranquil, family-friendly, soundproof, snug, friendly,
        scenic
    """),
    entries("""
        dirty, filthy, cramped, noisy, smelly, mouldy, damp, dusty, run-down, grubby, dark, tiny, musty, stuffy,
        freezing, uncomfortable, grimy, dingy, unsafe, loud, stained, lumpy, rock-hard, draughty, neglected,
        infested, broken, stinking, claustrophobic, worn out, unhygienic, sordid, sticky, bleak, boiling hot,
        squalid, blocked, rundown
    """),
    entries("""
        felt like home, felt like paradise, made us feel at ease, was a dream, had everything we needed, looked
        better than in the photos, was cleaned every day, smelled fresh, was close to everything, was surrounded by
        flowers, was perfect for families, had a view to remember, greeted us with a drink, welcomed us with open
        arms, made our honeymoon unforgettable, was made for relaxing, was an oasis, sparkled, offered every
        comfort, was super comfortable, was worth every cent, let us check in early, was full of light, spoiled us,
        was heaven on earth
    """),
    entries("""
        smelled of damp dog, smelled of drains, smelled of sewage, stank of cigarettes, was full of cockroaches, was
        full of mould, was never cleaned, looked nothing like the photos, had no hot water, had stains everywhere,
        had bugs in it, leaked all night, was falling apart, was next to a building site, squeaked all night, kept
        us awake, faced a brick wall, was as hard as a board, was covered in hair, was out of order, gave me back
        pain, did not even lock, was crawling with ants, rattled all night, flooded the floor, felt like a prison,
        was a health hazard, was double booked, ruined our holiday, spoiled our weekend, was freezing cold, was like
        an oven, was full of dust
    """),
)
GADGET = Topic(
    entries("""
        phone, laptop, battery, screen, camera, keyboard, headphones, speaker, charger, tablet, printer, app,
        website, software, update, watch, vacuum cleaner, blender, toaster, kettle, fridge, lamp, bike, car, drill,
        toy, product, device, television, remote, mouse, router, washing machine, coffee machine, oven, iron, fan,
        heater, pan, knife, chair, sofa, desk, bag, tent, umbrella, backpack, item, gadget, machine, quality,
        design, manual, cable, razor, hair dryer, pen, tool, lock, doll, price, thing, purchase, model, version,
        instructions, picture, lens
    """),
    entries("""
        fast, quick, easy to use, durable, sturdy, lightweight, sleek, sharp, powerful, well-made, robust, silent,
        intuitive, affordable, long-lasting, efficient, responsive, user-friendly, good value, accurate, practical,
        speedy, compact, simple, trouble-free, indestructible, well-designed, waterproof, versatile, clear,
        ergonomic, high-quality
    """),
    entries("""
        slow, fragile, flimsy, cheap, buggy, laggy, faulty, defective, hard to use, complicated, clunky, unstable,
        badly made, poorly made, scratched, blurry, noisy, heavy, bulky, overheated, unresponsive, wobbly, rusty,
        glitchy, damaged, badly designed, awkward, dead, blunt, jammed, crooked, dim, useless, plasticky, leaky,
        second-rate, cracked, incomplete, short-lived, obsolete, inaccurate, dead on arrival, bent, torn,
        counterfeit, fake
    """),
    entries("""
        works like a dream, worked perfectly, worked straight away, works every time, runs smoothly, lasts all day,
        lasts forever, lasted for years, makes life easier, does the job, does its job brilliantly, does what it
        promises, charges quickly, looks great, looks and feels expensive, feels solid, feels great in the hand,
        fits perfectly, saves me so much time, is a pleasure to use, is worth the money, is a bargain at this price,
        never lets me down, never fails, survived a fall, still looks new, still works like new, was easy to
        install, took no time to set up, arrived early, arrived well packed, arrived in perfect shape, came with
        clear instructions, beats the competition, solved all my problems, is as good as new, is a joy to hold, is
        better than the old one, sounds superb
    """),
    entries("""
        stopped working, stopped working within days, broke, broke immediately, broke on the first day, broke after
        a month, broke down, died, died after a week, crashes constantly, crashes every day, freezes all the time,
        fell apart, fell to pieces, came apart, won't turn on, won't charge, won't start, doesn't work, does not
        work, never worked, didn't fit, doesn't hold a charge, drains in no time, overheats, leaks, smells of
        plastic, makes a horrible noise, makes a terrible whine, scratches easily, cracked within a week, snapped in
        half, tore at once, arrived broken, arrived damaged, arrived late, arrived with parts missing, never
        arrived, was missing a piece, burned my hand, caught fire, went dark, keeps disconnecting, keeps switching
        off, keeps breaking, loses signal, got stuck, rusted within a month, refused to start, wore out quickly,
        faded after one wash, shrank in the wash, is a fire hazard, is already broken, is nothing but trouble,
        lasted only a day, hardly works, barely works, failed completely, feels cheap, looks cheap, eats batteries,
        deleted all my photos, is full of bugs, is full of adverts, lags badly
    """),
)
SERVICE = Topic(
    entries("""
        staff, team, service, receptionist, customer service, support, waiter, driver, doctor, nurse, dentist,
        teacher, shop assistant, hairdresser, haircut, plumber, mechanic, electrician, seller, company, bank, post
        office, hotline, delivery, courier, agent, lady at the desk, man at the counter, owner, guide, cashier,
        shop, store, insurance, garage, repair, lesson, course, instructor, boss, manager, salesman, technician,
        builder, office, answer, refund process, clinic, hospital, order, shipping, parcel, trainer, landlady,
        security guard, barber, tailor, vet
    """),
    entries("""
        friendly, helpful, kind, polite, patient, attentive, professional, courteous, efficient, prompt, caring,
        considerate, competent, knowledgeable, obliging, punctual, understanding, fair, skilled, hard-working,
        sympathetic, well-organised, gentle, quick, trustworthy, respectful, thorough, accommodating, warm-hearted,
        smiling, cheerful
    """),
    entries("""
        rude, unfriendly, impolite, arrogant, unhelpful, incompetent, lazy, slow, impatient, careless, grumpy,
        aggressive, disrespectful, dishonest, unprofessional, clueless, indifferent, disorganised, ignorant,
        inattentive, moody, condescending, hopeless, bad-tempered, greedy, unreliable, pushy, sulky, insolent,
        hostile, snobbish, cold, bossy, chaotic, uninterested, unpunctual, patronising, untrained, surly, heartless,
        bad-mannered
    """),
    entries("""
        helped us right away, helped me with everything, took great care of us, took the time to explain, answered
        all our questions, answered within minutes, solved the problem in minutes, went the extra mile, always
        smiled, made us feel important, was there for us, could not have been nicer, could not have been more
        helpful, gave excellent advice, gave us a free drink, replaced it for free, kept every promise, remembered
        our names, treated us like friends, did a fantastic job, did wonders, fixed it in no time, came on time,
        charged a fair price, refunded me at once, listened carefully, put me at ease, cared about us, saved our
        holiday, saved the day, knew everything, kept us informed, apologised and made up for it, thought of
        everything, exceeded all expectations, deserves a raise
    """),
    entries("""
        ignored us, ignored my emails, ignored me completely, shouted at us, yelled at my mother, laughed at me,
        lied to us, lied to my face, hung up on me, never called back, never answered, never replied, did not care,
        did not listen, didn't apologise, didn't even say hello, refused to help, refused to pay, refused to listen,
        kept us waiting, kept me waiting for weeks, made us wait an hour, made me feel stupid, made mistake after
        mistake, lost my order, lost my parcel, sent the wrong size, sent the wrong colour, brought the wrong dish,
        got everything wrong, overcharged us, ripped us off, cheated us, stole my money, kept my deposit, took no
        notice, rolled his eyes, treated us badly, treated us like criminals, did a terrible job, did shoddy work,
        did nothing, blamed us, insulted us, cancelled my order, forgot about us, forgot our drinks, damaged my car,
        left a mess, left us standing, was nowhere to be found, was never there, had no idea, had no manners,
        couldn't care less, talked down to me, passed me from one to another, turned up late, turned up drunk, did
        not turn up, didn't know anything, wasted our time, broke every promise
    """),
)
TRAVEL = Topic(
    entries("""
        train, flight, airline, bus, ferry, taxi, seat, journey, trip, tour, crew, airport, station, platform,
        ticket, timetable, queue, luggage, cruise, boat, city, town, village, rental car, tram, coach, ride, route,
        road, departure, connection, carriage, cabin, crossing, boarding, hike, castle, market, zoo, theme park,
        island, mountain, walk, excursion, motorway, passport control, night train, conductor, pilot, landing,
        lounge, port, camping trip
    """),
    entries("""
        punctual, on time, smooth, comfortable, scenic, relaxing, well-organised, unforgettable, hassle-free,
        picturesque, adventurous, efficient, cheap and cheerful, spacious, roomy, effortless, quick, pretty,
        dreamlike, safe, eventful in a good way, wonderful from start to end, stress-free, restful, easy, clean and
        quiet, breathtaking
    """),
    entries("""
        late, delayed, cancelled, overcrowded, crowded, packed, bumpy, cramped, uncomfortable, exhausting, badly
        organised, dangerous, dirty, chaotic, freezing, overbooked, endless, stuffy, touristy, unsafe, hot and
        sticky, rough, hair-raising, full of rubbish, bone-shaking, overpriced, never on time, stressful, grimy,
        rickety, smelly
    """),
    entries("""
        left on time, arrived on time, arrived ahead of schedule, ran like clockwork, went without a hitch, went
        smoothly, was over far too soon, had plenty of legroom, offered splendid views, was a highlight of our year,
        was a great adventure, was worth the climb, took us to wonderful places, was organised down to the last
        detail, had comfortable seats, was an experience to remember, brought us home safely, made travelling a
        pleasure, was full of lovely surprises, was a breeze, was quick and painless, showed us beautiful corners,
        enchanted us all
    """),
    entries("""
        was two hours late, was late again, was delayed for hours, was cancelled, was cancelled without notice, was
        packed like a tin of sardines, left without us, left us stranded, broke down, lost our suitcases, lost my
        bag, never showed up, never came, was full of screaming people, took twice as long as promised, was
        overbooked, cost twice as much as announced, had no air, had no legroom, had broken toilets, made me
        seasick, made us miss our connection, was a tourist trap, was closed without warning, got lost, drove like a
        maniac, took a detour to earn more, was full of litter, was not worth the fare, went wrong from the start,
        ended in chaos, was one long queue, scared us to death, was stuck for three hours, stopped in the middle of
        nowhere, gave away our seats, damaged my suitcase
    """),
)
CLOTHES = Topic(
    entries("""
        jacket, coat, dress, shirt, shoes, boots, trousers, jeans, sweater, hat, gloves, socks, skirt, scarf,
        fabric, material, colour, zip, size, ring, necklace, perfume, shampoo, cream, soap, lipstick, blanket, suit,
        belt, pyjamas, sandals, sunglasses, wallet, buttons, seams, paint, curtains, rug, towel, cushion
    """),
    entries("""
        soft, warm, flattering, well-cut, stylish, elegant, comfortable, snug, chic, pretty, waterproof,
        fashionable, silky, breathable, colourful, well-made, hard-wearing, fragrant, gentle, light, smooth, true to
        size, timeless
    """),
    entries("""
        scratchy, itchy, baggy, ill-fitting, see-through, thin, badly sewn, cheap, uncomfortable, stiff, faded,
        shapeless, too tight, way too small, hideous, rough, torn, smelly, sticky, frumpy, crumpled, stained, poorly
        stitched
    """),
    entries("""
        fits like a glove, fits beautifully, feels soft on the skin, keeps me warm, keeps the rain out, looks even
        better in real life, gets me compliments every day, washes well, suits me perfectly, goes with everything,
        still looks like new, smells lovely, is just what was wanted, makes me feel pretty, is incredibly
        comfortable, lasts for years
    """),
    entries("""
        fell apart in the wash, lost its colour, shrank, ripped on the first day, itches terribly, gave me blisters,
        gave me a rash, burned my skin, smells of chemicals, looks nothing like the photo, split at the seams, lost
        a button at once, lets the rain in, hurts my feet, is far too small, came in the wrong size, has holes
        already, makes me look awful, pinches, stains everything, peeled off, rubbed my heels raw, came with a
        broken zip, unravelled
    """),
)
TOPICS = (FILM, BOOK_AND_MUSIC, FOOD, HOTEL, GADGET, SERVICE, TRAVEL, CLOTHES)
